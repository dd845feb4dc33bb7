"""Languages that we answer in, and which one a text is in."""

import unicodedata
from collections import Counter
from enum import StrEnum


class Language(StrEnum):
    """ISO 639-1 codes of the supported languages."""

    ZH = "zh"
    EN = "en"
    ES = "es"
    JA = "ja"
    AR = "ar"
    DE = "de"


RIGHT_TO_LEFT = frozenset({Language.AR})

_COMMON = {
    Language.EN: "the is are my i you to of and what where when how can do it for in on have",
    Language.ES: "el la los las es mi un una que cómo dónde cuándo puedo de y por para en hola",
    Language.DE: "der die das ist mein meine ich wie wo wann kann und für ein eine nicht hallo",
}
_STOPWORDS = {lang: frozenset(words.split()) for lang, words in _COMMON.items()}


def detect_language(text: str, default: str = Language.EN) -> str:
    """Return the language code of ``text``: by script first, then by common words.

    ``default`` where neither tells.
    """
    scripts: Counter[str] = Counter()
    for char in text:
        if not char.isalpha():
            continue
        name = unicodedata.name(char, "")
        if name.startswith(("HIRAGANA", "KATAKANA")):
            scripts["kana"] += 1
        elif name.startswith("CJK"):
            scripts["han"] += 1
        elif name.startswith("ARABIC"):
            scripts["arabic"] += 1
        else:
            scripts["other"] += 1
    if scripts["kana"]:
        return Language.JA
    # A Chinese character carries about as much as a Latin word, so it counts for more letters.
    if 3 * scripts["han"] > scripts["other"] and scripts["han"] >= scripts["arabic"]:
        return Language.ZH
    if scripts["arabic"] > scripts["other"]:
        return Language.AR
    words = [word.strip(".,;:!?¿¡\"'()").lower() for word in text.split()]
    votes = {lang: sum(word in stop for word in words) for lang, stop in _STOPWORDS.items()}
    if any(char in "äöüß" for char in text.lower()):
        votes[Language.DE] += 1
    if any(char in "ñ¿¡áíó" for char in text.lower()):
        votes[Language.ES] += 1
    best = max(votes, key=lambda lang: votes[lang])
    return best if votes[best] else default

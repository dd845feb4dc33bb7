# ruff: noqa: E501 - a pattern is read as one line
"""Recognisers for people's names in English, Spanish, German and Arabic, and what all languages share.

A name is taken where a cue announces it ("my name is", "Dear", "اسمي", a signature), where a title
stands before it, or where the words are in the lists of :mod:`store_node.samples.lexicon`: a given
name and another capitalised word, or an unambiguous given name alone. Chinese and Japanese are in
:mod:`store_node.samples.names_han`.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise

from store_node.samples.lexicon import latin_names, names_of, ordinary_words, word_list
from store_node.samples.names_han import find_chinese_names, find_japanese_names
from store_node.samples.spans import Span
from store_node.samples.view import CAPITALS

_DOTTED = r"(?:(?<=Mr)|(?<=Ms)|(?<=Mrs)|(?<=Dr)|(?<=Sr)|(?<=Sra)|(?<=Prof))\."
_WORD = rf"(?:[{CAPITALS}]\.|[{CAPITALS}](?:[^\W\d_]|['\-](?=[^\W\d_]))*(?:{_DOTTED})?)"
_PARTICLE = r"(?:de|del|la|van|von|der|den|bin|al|el|da|di|du)"
_FULL = rf"{_WORD}(?: (?:{_PARTICLE} )*{_WORD}){{0,3}}"
_CUES = re.compile(
    r"(?:(?i:my (?:full )?name(?:'s| is)|name(?:'s| is)|i am called|call me|under the name(?: of)?|name on the (?:card|order|account)[:\"' is]{1,4}"
    r"|(?:first|last|full|sur|family|given)[ _]?name[:\"' is]{1,6}|this is|i am|i'm|it's|dear|hi|hello|hey|attn:?|recipient:?|addressed to|mr\.?|mrs\.?|ms\.?|miss|mx\.?|dr\.?|prof\.?|sir|madam"
    r"|my (?:son|daughter|wife|husband|kid|child|brother|sister|mother|father|mom|mum|dad|friend|boss|colleague|partner|neighbou?r)|sp(?:eak|oke) (?:to|with)|talk(?:ed)? (?:to|with)|signed by|assistant to|c/o|follow up with|on behalf of"
    r"|me llamo|mi nombre es|nombre:|soy|señora?|sra?\.|don|doña|estimad[oa]|querid[oa]"
    r"|ich hei(?:ß|ss)e|mein name ist|ich bin|hier ist|herrn?|frau|liebe[r]?|geehrte[r]?(?: herr| frau)?))[,:]?[ \n\"']{1,3}"
    rf"(?P<v>{_FULL})(?![\w])"
)
_FIELD = re.compile(rf"(?i:(?<![\w])name)[\"']?[:=] ?[\"']?(?P<v>{_FULL})(?!\w)")
_LOWER_CUE = re.compile(
    r"(?:(?i:my (?:full )?name(?:'s| is)|me llamo|mein name ist|ich hei(?:ß|ss)e|mi nombre es)) (?P<v>[a-zß-ɏ'\-]+(?: [a-zß-ɏ'\-]+)?)"
)
_SIGNED = re.compile(
    r"(?:(?i:regards|sincerely|thanks|thank you|cheers|best|yours truly|saludos|atentamente|grü(?:ß|ss)e|grü(?:ß|ss)en))[,.! ]*\n+\s*[-~]*\s*"
    rf"(?P<v>{_FULL})\s*(?=\n|$)|\n\s*(?:--?|~) ?(?P<w>{_FULL})\s*$"
)
_HERE = re.compile(rf"(?:^|[.!?,\n] ?)(?P<v>{_FULL}),? here(?!\w)")
_CLAUSE = re.compile(rf"(?:^|[.!?,;\n] )(?P<v>{_WORD} {_WORD})(?=[,;]? \+?[\d(]|\s*[^\w\s]*$)")
_CAPS = re.compile(rf"(?<![\w@#'])(?P<v>{_FULL})(?!\w)")
_NOT_NAMES = frozenset(word_list("latin_never"))
_WORDS_TOO = frozenset(word_list("latin_words_too"))
_AR_WORD = "[ء-ي]{2,}"
_AR_NOT = "|".join(word_list("arabic_never"))
_AR_NAME = rf"(?!(?:{_AR_NOT})(?![ء-ي])){_AR_WORD}(?: (?:(?:بن|بنت|ابن|آل|أبو|ابو|أم|عبد) )?(?!(?:{_AR_NOT})(?![ء-ي])){_AR_WORD}){{0,2}}"
_AR_STRONG = re.compile(
    rf"(?<![ء-ي])(?:(?:و?اسمي|وإسمي|إسمي|الاسم|باسم|اسم المستلم|المستلم|(?:ال)?(?:سيدة?|أستاذة?|استاذة?|دكتورة?|مهندسة?|آنسة)|معك|عزيزي|عزيزتي)(?: هو| الكامل)?(?: ?:)?|د\.) (?P<v>{_AR_NAME})"
)
_AR_CLAUSE = re.compile(
    rf"(?:^|[،,\n]) ?(?P<v>(?!(?:{_AR_NOT})(?![ء-ي]))(?!ال)[ء-ي]{{3,8}} ال[ء-ي]{{3,10}})\s*(?=$|[،,\n]|[^\w\s])"
)
_AR_SELF = re.compile(
    rf"(?<![ء-ي])[أا]نا (?P<v>(?:(?!(?:{_AR_NOT})(?![ء-ي]))[ء-ي]{{2,10}}) [ء-ي]{{3,12}}) ?(?=$|[،,.\n])"
)
_AR_WORDS_TOO = frozenset(word_list("arabic_words_too"))
_AR_NEVER = frozenset(word_list("arabic_never"))
_TRIBE = 4
_AR_WORDS = re.compile(_AR_WORD)
_TITLE = re.compile(
    r"(?:mr|mrs|ms|miss|mx|dr|prof|sir|madam|sra?|herrn?|frau|don|doña)\.?", re.IGNORECASE
)
_ALONE = 3


def find_names(text: str, lang: str) -> Iterator[Span]:
    """Yield names of a folded text in every script that it holds; ``lang`` decides Han characters."""
    if any("A" <= char <= "z" or "À" <= char <= "ɏ" for char in text):
        yield from _latin(text)
    if text.isascii():
        return
    if any("\u0600" <= char <= "\u06ff" for char in text):
        yield from _arabic(text)
    if lang == "ja":
        yield from find_japanese_names(text)
    elif any("一" <= char <= "龠" for char in text):
        yield from find_chinese_names(text)


def _latin(text: str) -> Iterator[Span]:
    for pattern in (_CUES, _SIGNED):
        for match in pattern.finditer(text):
            group = "v" if match.group("v") else "w"
            span = _strip(text, match.start(group), match.end(group))
            if span is not None:
                yield span
    for match in _LOWER_CUE.finditer(text):
        words = match.group("v").split(" ")
        kept = words[:1] if len(words) > 1 and words[1] in _NOT_NAMES else words
        if words[0] not in _NOT_NAMES:
            yield Span(match.start("v"), match.start("v") + len(" ".join(kept)), "PERSON")
    for match in _HERE.finditer(text):
        span = _strip(text, match.start("v"), match.end("v"))
        if span is not None:
            yield span
    for match in _CLAUSE.finditer(text):
        # Someone who signs beside a number.
        words = {_bare(word) for word in match.group("v").split(" ")}
        if any(c.isdigit() for c in text) and not words & (_NOT_NAMES | ordinary_words()):
            yield Span(match.start("v"), match.end("v"), "PERSON")
    given, surnames = latin_names()
    for match in _FIELD.finditer(text):
        # A form's "name" may be a product's, so one of its words must be known.
        words = {_bare(word) for word in match.group("v").split(" ")}
        if words & (given | surnames) - ordinary_words():
            yield Span(match.start("v"), match.end("v"), "PERSON")
    for match in _CAPS.finditer(text):
        yield from _listed(text, match, given, surnames)


def _strip(text: str, start: int, end: int) -> Span | None:
    """Return the name at ``start`` up to the first word that cannot be part of one."""
    begin = stop = start
    for word in re.finditer(r"[^ ]+", text[start:end]):
        if word.group().strip(".,'").casefold() in _NOT_NAMES:
            break
        stop = start + word.end()
        if _TITLE.fullmatch(word.group()):
            begin = min(stop + 1, end)
    return Span(begin, stop, "PERSON") if stop > begin else None


def _listed(
    text: str, match: re.Match[str], given: frozenset[str], surnames: frozenset[str]
) -> Iterator[Span]:
    """Yield names that the lists know within a run of capitalised words."""
    words = [
        (match.start() + m.start(), match.start() + m.end(), _bare(m.group()))
        for m in re.finditer(r"[^ ]+", match.group())
    ]
    place = 0
    while place < len(words):
        start, end, word = words[place]
        place += 1
        if word in _NOT_NAMES:
            continue
        if word not in given and place < len(words) and _unlisted(word, words[place][2], surnames):
            end = words[place][1]
            place += 1
            yield Span(start, end, "PERSON")
            continue
        if not (word in given or (word in surnames and place < len(words))):
            continue
        followed = place < len(words) and words[place][2] not in _NOT_NAMES
        if followed and (word in given or words[place][2] in given):
            while place < len(words) and words[place][2] not in _NOT_NAMES:
                end = words[place][1]
                place += 1
            yield Span(start, end, "PERSON")
        elif (
            word in given
            and len(word) >= _ALONE
            and word not in _WORDS_TOO
            and (len(word) > _ALONE or not text[start:end].isupper())
            and word not in ordinary_words()
        ):
            yield Span(start, end, "PERSON")


def _unlisted(word: str, after: str, surnames: frozenset[str]) -> bool:
    """Return whether an unknown word and a surname that is no other word read as a name."""
    if word in ordinary_words() or word in _WORDS_TOO or len(word) < _ALONE:
        return False
    return after in surnames and after not in _WORDS_TOO | _NOT_NAMES | ordinary_words()


def _bare(word: str) -> str:
    bare = word.rstrip(".").casefold()
    return bare.removesuffix("'s")


@lru_cache(maxsize=1)
def _arabic_lists() -> tuple[frozenset[str], frozenset[str]]:
    names = names_of("ar")
    return frozenset(names.given), frozenset(names.surnames)


def _arabic(text: str) -> Iterator[Span]:
    for pattern in (_AR_STRONG, _AR_SELF):
        for match in pattern.finditer(text):
            yield Span(match.start("v"), match.end("v"), "PERSON")
    given, surnames = _arabic_lists()
    words = list(_AR_WORDS.finditer(text))
    for first, second in pairwise(words):
        if text[first.end() : second.start()] != " ":
            continue
        if {first.group(), second.group()} & _AR_NEVER:
            continue
        family = second.group() in surnames or second.group() in given
        link = second.group() in {"بن", "بنت", "آل"}
        of_tribe = (
            first.group() not in _AR_WORDS_TOO
            and second.group().startswith("ال")
            and len(second.group()) > _TRIBE
        )
        if first.group() in given and (family or link or of_tribe):
            yield Span(first.start(), second.end(), "PERSON")
    for match in _AR_CLAUSE.finditer(text):
        # Someone who signs: two words after a number, the second a family name.
        if any(c.isdigit() for c in text[: match.start()]):
            yield Span(match.start("v"), match.end("v"), "PERSON")

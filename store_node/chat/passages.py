"""Which of the passages found answer the question, and what to quote where no model speaks."""

import re
from collections.abc import Sequence

from store_node.knowledge.terms import terms
from store_node.ports import Hit

COVERED = 0.3
"""The share of a question's terms that a passage must have to count as a source."""
_QUOTED_CHARACTERS = 400
_SENTENCE = re.compile(r"[^。！？\n.!?؟]*(?:[。！？\n]+|[.!?؟]+(?=\s|$)|[.!?؟]+|$)")
_STOPWORDS = frozenset(  # one block of words reads better than a list of strings
    """a an and are as at be by can do does for from have how i if in is it me my of on or our the
    there this to was what when where which who will with would you your
    el la los las un una de del en y o que es mi su por para con se al como cuando donde puedo
    der die das ein eine und oder ist sind ich sie mein meine wie was wann wo kann von zu im in den
    dem mit auf fur es
    في من على هل ما كيف متى اين هذا هذه عن الى انا او""".split()  # noqa: SIM905
)


def content_terms(text: str, lang: str) -> set[str]:
    """Return the terms of ``text`` that carry meaning; all of them where none does."""
    every = set(terms(text, lang))
    return (every - _STOPWORDS) or every


def relevant(question: str, hits: Sequence[Hit]) -> list[Hit]:
    """Return the hits that share enough terms with the question, in their order."""
    return [
        hit for hit in hits if _coverage(question, f"{hit.title} {hit.text}", hit.lang) >= COVERED
    ]


def extract(question: str, hits: Sequence[Hit]) -> str:
    """Return the sentences of the best hit that are nearest to the question; empty without hits."""
    if not hits:
        return ""
    best = hits[0]
    text = " ".join(best.text.split())
    if len(text) <= _QUOTED_CHARACTERS:
        return text
    sentences: list[str] = [part for part in _SENTENCE.findall(text) if part.strip()]
    scores = [_coverage(question, part, best.lang) for part in sentences]
    at = max(range(len(sentences)), key=scores.__getitem__)
    quoted = sentences[at].strip()
    for part in sentences[at + 1 :]:
        if len(quoted) + len(part) > _QUOTED_CHARACTERS:
            break
        quoted += part
    return quoted.strip()


def _coverage(question: str, text: str, lang: str) -> float:
    wanted = content_terms(question, lang)
    if not wanted:
        return 0.0
    there = set(terms(text, lang))
    # Endings differ ("return", "returns"): four letters in common at the start are enough.
    stems = {term[:4] for term in there}
    met = sum(term in there or (term.isascii() and term[:4] in stems) for term in wanted)
    return met / len(wanted)

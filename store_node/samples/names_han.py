# ruff: noqa: E501 - a pattern is read as one line
"""Recognisers for Chinese and Japanese names.

Chinese: cue phrases, a surname before a title, and what jieba tags as a person whose first
character is a surname. Japanese: cue phrases, titles, and a list of common surnames.
"""

import logging
import re
import warnings
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from store_node.samples.lexicon import names_of, word_list
from store_node.samples.spans import Span

_HAN = "一-龠々"
_ZH_CUE = re.compile(
    r"(?:我叫(?:做)?|名字(?:是|叫)|姓名(?:是|为|叫)?|收件人(?:是|为|改成|改为)?|收货人(?:是|为|改成|改为)?|联系人(?:是|为)?|签收人(?:是|为)?|本人|署名|亲爱的|尊敬的|会员|客户|我是|(?<=[我是,. ])姓(?!名)|这里是|叫我|称呼我)[:\"' ]{0,2}"
    rf"(?=(?P<v>[{_HAN}·]{{2,5}}))"
)
_ZH_TITLE = "先生|女士|小姐|太太|老师|师傅|经理|同学|大姐|大哥|阿姨|叔叔|医生|总(?![是共之体价会额计算数的])"
_ZH_NEXT = frozenset(
    "的了在是和有我你您他她它想要请帮把给买订下说问不没也就都还已从到去来会能可吗呢吧啊，。,.!?这那被让对向与及以，收退换改"
)
_ZH_NEXT_WORD = re.compile(
    "电话|手机|地址|住|家里|家住|今天|昨天|明天|明早|上午|上次|上周|个|先生|女士|小姐|太太|老师|为什|为啥|这里"
)
_NOT_PERSON = frozenset(word_list("chinese_never"))
_JA_SURNAMES = word_list("japanese_surnames")
_JA_SAFE = rf"[{_HAN}ヶ]"
_JA_PERSON = rf"(?:{_JA_SAFE}{{1,4}}[ 　]?(?:{_JA_SAFE}{{1,3}}|[ぁ-ん]{{2,4}}|[ァ-ヴー]{{2,6}})?|[ァ-ヴー]{{2,10}}(?:[・ ][ァ-ヴー]{{2,10}})?)"
_JA_CUES = re.compile(
    rf"(?:^|[、。,\s「はのもがをにで])(?P<a>{_JA_PERSON})(?=と申し|といい|と言い)"
    rf"|(?:名前|氏名|宛名|お名前|受取人|名義)(?:は|が|:|を)[ 「]?(?P<b>{_JA_PERSON})(?=です|で|に|」|、|。|$|\s|さ|様)"
)
_JA_TITLE = re.compile(
    rf"(?P<v>(?:{_JA_SAFE}{{2,5}}|[ァ-ヴー]{{2,8}}))(?=さん|様|さま|氏(?!名)|くん|ちゃん|先生)"
)
_JA_NOT = re.compile(
    r".*(?:お客|客|皆|神|奥|王|貴社|御社|店員|業者|店舗|店長|担当者?|係員|配達員|利用者|お子|子供|同)$"
)
_ZH_CLAUSE = re.compile(rf"(?<![{_HAN}A-Za-z])[{_HAN}]{{2,4}}(?![{_HAN}A-Za-z])")
_LONGEST = 4
_GIVEN = 2
_TAGS = frozenset({"nr", "nrfg", "nrt"})


@lru_cache(maxsize=1)
def _tagger() -> Any:  # noqa: ANN401 - jieba is untyped
    """Return jieba's tagger; the first call takes about a second."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import jieba  # noqa: PLC0415 - slow to load, and only Chinese text needs it
        import jieba.posseg  # noqa: PLC0415

        jieba.setLogLevel(logging.ERROR)
        jieba.initialize()
    return jieba.posseg


@lru_cache(maxsize=1)
def _surnames() -> tuple[frozenset[str], re.Pattern[str]]:
    known = frozenset(names_of("zh").surnames)
    ordered = "|".join(sorted(known, key=len, reverse=True))
    title = rf"(?P<v>(?:{ordered})[{_HAN}]{{0,2}}?)(?=(?:{_ZH_TITLE}))"
    return known, re.compile(title)


def _surname_length(name: str) -> int:
    known = _surnames()[0]
    return 2 if name[:2] in known else int(name[:1] in known)


def find_chinese_names(text: str) -> Iterator[Span]:
    """Yield Chinese names of a folded text."""
    for match in _surnames()[1].finditer(text):
        yield Span(match.start("v"), match.end("v"), "PERSON")
    yield from _tagged(text)
    for match in _ZH_CUE.finditer(text):
        end = _named_until(match.group("v"))
        if end:
            yield Span(match.start("v"), match.start("v") + end, "PERSON")
    for match in _ZH_CLAUSE.finditer(text):
        name = match.group()
        if _named_until(name) == len(name) and _stands_alone(name):
            yield Span(match.start(), match.end(), "PERSON")


def _named_until(value: str) -> int:
    """Return how many characters of ``value`` are a name, 0 for none: surname, one or two more."""
    surname = _surname_length(value)
    end = surname
    while surname and end < min(len(value), surname + 2):
        if value[end] in _ZH_NEXT or _ZH_NEXT_WORD.match(value, end):
            break
        end += 1
    return end if end > surname and value[:end] not in _NOT_PERSON else 0


def _stands_alone(name: str) -> bool:
    """Return whether a whole clause reads as a name: no word that the dictionary knows otherwise."""
    pairs = list(_tagger().cut(name))
    first = pairs[0]
    if any(pair.flag in _TAGS for pair in pairs):
        return True
    surname = _surname_length(name)
    return len(first.word) == surname and all(p.flag[0] in "nagzjix" for p in pairs[1:])


def _tagged(text: str) -> Iterator[Span]:
    place = 0
    held: Span | None = None
    for pair in _tagger().cut(text):
        word, start = pair.word, place
        place += len(word)
        person = pair.flag in _TAGS and len(word) <= _LONGEST and word not in _NOT_PERSON
        if (
            held is not None
            and held.end == start
            and len(word) <= _GIVEN
            and (person or pair.flag == "ng")
        ):
            yield Span(held.start, place, "PERSON")
            held = None
            continue
        held = None
        surname = _surname_length(word)
        if word[:1] == word[1:2]:
            continue
        if person and surname and not _ZH_NEXT.isdisjoint(word[surname:]):
            continue
        if person and surname and len(word) > surname:
            yield Span(start, place, "PERSON")
        elif person and surname == len(word):
            held = Span(start, place, "PERSON")


@lru_cache(maxsize=1)
def _japanese_surname() -> re.Pattern[str]:
    known = {n for n in (*_JA_SURNAMES, *names_of("ja").surnames) if len(n) > 1}
    given = "|".join(sorted(names_of("ja").given, key=len, reverse=True))
    ordered = "|".join(sorted(known, key=len, reverse=True))
    return re.compile(
        rf"(?<![{_HAN}])(?:{ordered})(?: ?(?:{given})| ?[{_HAN}]{{1,2}}(?![{_HAN}]))?(?![県市区町村駅都府{_HAN}])"
    )


def find_japanese_names(text: str) -> Iterator[Span]:
    """Yield Japanese names of a folded text."""
    for match in _JA_CUES.finditer(text):
        group = "a" if match.group("a") else "b"
        yield Span(match.start(group), match.end(group), "PERSON")
    for match in _JA_TITLE.finditer(text):
        if not _JA_NOT.fullmatch(match.group("v")):
            yield Span(match.start("v"), match.end("v"), "PERSON")
    for match in _japanese_surname().finditer(text):
        yield Span(match.start(), match.end(), "PERSON")

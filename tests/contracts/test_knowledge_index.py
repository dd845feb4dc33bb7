"""Every implementation of port ``KnowledgeIndex`` keeps the same promises."""

from collections.abc import Iterator

import pytest

from shared.formats import KnowledgeRow
from store_node.ports import KnowledgeIndex
from store_node.wiring import StoreData


@pytest.fixture
def index(data: StoreData) -> KnowledgeIndex:
    return data.index


def row(name: str, text: str, lang: str, title: str | None = None) -> KnowledgeRow:
    return KnowledgeRow(_id=name, text=text, lang=lang, title=title)


EN = [
    row("en-1", "You may return goods within thirty days.", "en", "Returns"),
    row("en-2", "Delivery takes two days.", "en", "Delivery"),
    row("en-3", "The kettle boils water; delivery of the kettle is free.", "en"),
]


def ids(index: KnowledgeIndex, text: str, lang: str, k: int = 5) -> list[str]:
    return [hit.document_id for hit in index.search(text, lang, k)]


def test_hits_come_best_first_and_at_most_k(index: KnowledgeIndex) -> None:
    assert index.replace("en", EN) == 3
    hits = index.search("kettle delivery", "en")
    assert [hit.document_id for hit in hits] == ["en-3", "en-2"]
    assert hits[0].score >= hits[1].score
    assert (hits[1].title, hits[1].text, hits[1].lang) == (
        "Delivery",
        "Delivery takes two days.",
        "en",
    )
    assert len(index.search("kettle delivery", "en", 1)) == 1
    assert ids(index, "kettle", "en", 0) == []


def test_partitions_are_apart(index: KnowledgeIndex) -> None:
    index.replace("en", EN)
    index.replace("de", [row("de-1", "Der kettle kommt morgen.", "de")])
    assert ids(index, "kettle", "de") == ["de-1"]
    assert ids(index, "kettle", "es") == []
    assert index.counts() == {"de": 1, "en": 3}


@pytest.mark.parametrize(
    ("lang", "text", "query"),
    [
        ("zh", "商品支持七天无理由退货", "怎么退货"),
        ("zh", "本店营业时间为九点", "营业"),
        ("ja", "返品は三十日以内に承ります", "返品したい"),
        ("ja", "バッグの修理", "ﾊﾞｯｸﾞ"),
        ("ar", "يمكنك إرجاع المنتجات خلال شهر", "كيف يتم ارجاع المنتجات"),
        ("ar", "رسوم الشَّحْن مجانية", "الشحن"),
        ("de", "Die Rückgabe ist kostenlos", "RUCKGABE"),
        ("es", "La devolución es gratis", "devolucion"),
        ("en", "Returns are free", "returning"),
    ],
)
def test_words_are_found_in_each_language(
    index: KnowledgeIndex, lang: str, text: str, query: str
) -> None:
    index.replace(lang, [row("yes", text, lang), row("no", "xyz", lang)])
    assert ids(index, query, lang) == ["yes"]


def test_replacing_is_all_or_nothing(index: KnowledgeIndex) -> None:
    def broken() -> Iterator[KnowledgeRow]:
        yield row("new", "kettle", "en")
        raise RuntimeError("the source broke")

    index.replace("en", EN)
    with pytest.raises(RuntimeError, match="broke"):
        index.replace("en", broken())
    assert "en-3" in ids(index, "kettle", "en")
    assert index.replace("en", [row("new", "kettle", "en")]) == 1
    assert ids(index, "kettle", "en") == ["new"]
    assert index.replace("en", []) == 0
    assert ids(index, "kettle", "en") == []


@pytest.mark.parametrize(
    "query", ["", "   ", '"', "AND OR NOT", "a*", "kettle:", "(", "-", "NEAR(", "\x00", "😀"]
)
def test_any_text_is_a_query(index: KnowledgeIndex, query: str) -> None:
    index.replace("en", EN)
    assert isinstance(index.search(query, "en"), list)

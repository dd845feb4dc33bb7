"""Products are found by name or by a telling part of it."""

from shared.formats import CatalogRow
from store_node.knowledge.names import NameFinder


def product(product_id: str, name: str) -> CatalogRow:
    return CatalogRow(product_id=product_id, name=name, lang="en", price=1, currency="EUR", stock=1)


FINDER = NameFinder(
    [
        product("a", "Aurora Keyboard"),
        product("b", "Breeze Keyboard"),
        product("c", "Breeze Keyboard Pro"),
        product("d", "极光机械键盘"),
        product("e", "清风办公鼠标"),
        product("SKU-77", "Café crème"),
    ]
)


def found(text: str) -> list[tuple[str, str]]:
    return [(match.product_id, text[match.start : match.end]) for match in FINDER.find(text)]


def test_whole_names_and_unique_parts() -> None:
    assert found("Is the AURORA there?") == [("a", "AURORA")]
    assert found("the breeze keyboard, please") == [("b", "breeze keyboard")]
    assert found("a Breeze Keyboard Pro and an aurora keyboard") == [
        ("c", "Breeze Keyboard Pro"),
        ("a", "aurora keyboard"),
    ]
    assert found("which keyboard is best?") == []


def test_chinese_names_without_spaces() -> None:
    assert found("请问机械键盘多少钱") == [("d", "机械键盘")]
    assert found("极光和清风哪个好") == [("d", "极光"), ("e", "清风")]


def test_accents_do_not_matter_and_places_are_of_the_text_given() -> None:
    assert found("a cafe\u0301 creme!") == [("SKU-77", "cafe\u0301 creme")]


def test_product_numbers() -> None:
    assert found("price of sku-77?") == [("SKU-77", "sku-77")]

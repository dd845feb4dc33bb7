"""The report says what the facts say, in both languages, and nothing in it can break out of it."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from deploy.demo.report import (
    _words,
    interval,
    page,
    render,
    say_bytes,
    verdict,
)
from shared.errors import BadInput
from shared.releases import RolloutStage
from tests.unit.deploy.demo.sample_report import SAMPLE, ledger, quality


class Balanced(HTMLParser):
    """Fails on tags that close what is not open; collects ids and text."""

    VOID = frozenset({"meta", "br", "use"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id" and value:
                self.ids.append(value)
            if name in {"src", "href", "xlink:href"} and value and not value.startswith("#"):
                self.fetched.append(value)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_page_is_whole_and_stands_alone() -> None:
    parser = Balanced()
    parser.feed(page(SAMPLE))
    assert parser.open == []
    assert parser.fetched == []
    assert len(parser.ids) == len(set(parser.ids))


def test_pictures_keep_text_and_follow_the_page(tmp_path: Path) -> None:
    html = page(SAMPLE)
    svg = "".join(re.findall(r"<svg.*?</svg>", html, re.DOTALL))
    assert "Chinese</text>" in svg
    assert "中文</text>" in svg
    assert "var(--after)" in svg
    assert "font-family: var(--font)" in svg
    assert "DejaVu" not in svg
    assert "@@" not in html
    assert not re.search(r"#0[1-7]0[1-7]0[1-7]", svg)
    assert "tea &lt;break&gt;" in svg


def test_customer_facing_text_is_escaped_and_bidi_safe() -> None:
    html = page(SAMPLE)
    assert "<b>parcel</b>" not in html
    assert "&lt;b&gt;parcel&lt;/b&gt;" in html
    assert '<p class="ask words" lang="ar" dir="auto">' in html


def test_epsilon_never_without_unit_and_adjacency() -> None:
    html = page(SAMPLE)
    assert "protects one customer of one store" in html
    assert "add-or-remove-one" in html
    assert "顾客" in html


def test_what_went_wrong_is_said(tmp_path: Path) -> None:
    bad = replace(
        SAMPLE,
        release=None,
        gates=SAMPLE.release.gates if SAMPLE.release else (),
        rollout=(),
        failures=("hangzhou: the node stopped in round 2",),
        ledgers=(ledger("hq", findings=("entry 7: the signature does not hold",)),),
    )
    html = page(bad)
    assert "entry 7: the signature does not hold" in html
    assert "the node stopped in round 2" in html
    assert "No release went out" in html
    assert "Ledgers not verified" in html
    assert not bad.verified


def test_no_ledger_is_not_a_verified_ledger() -> None:
    assert not replace(SAMPLE, ledgers=()).verified


def test_empty_parts_leave_no_holes() -> None:
    html = page(
        replace(
            SAMPLE, stores=(), quality=(), stages=(), questions=(), ledgers=(), rollout=(), notes=()
        )
    )
    assert "Measured on" in html


def test_json_carries_the_same_facts(tmp_path: Path) -> None:
    written = render(SAMPLE, tmp_path / "deep" / "report")
    found = json.loads(written.json.read_text(encoding="utf-8"))
    assert found["verified"] is True
    assert found["seconds"] == pytest.approx(SAMPLE.seconds)
    assert found["questions"][0]["question"] == SAMPLE.questions[0].question
    assert written.html.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_figure_that_is_no_number_is_refused(tmp_path: Path) -> None:
    broken = replace(
        SAMPLE,
        quality=(quality("en", measure="nll_per_token", before=3.0, after=float("nan"), half=0.1),),
    )
    with pytest.raises(BadInput, match="NaN"):
        render(broken, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("measure", "before", "after", "expected"),
    [
        ("nll_per_token", 3.0, 2.0, "better"),
        ("nll_per_token", 2.0, 3.0, "worse"),
        ("nll_per_token", 3.0, 2.9, "same"),
        ("intent_accuracy", 0.2, 0.8, "better"),
        ("intent_accuracy", 0.8, 0.2, "worse"),
    ],
)
def test_verdict_needs_intervals_apart(
    measure: str, before: float, after: float, expected: str
) -> None:
    assert verdict(quality("en", measure=measure, before=before, after=after, half=0.1)) == expected


def test_figures_for_people() -> None:
    found = quality("en", measure="intent_accuracy", before=0.84, after=0.9, half=0.02)
    assert interval(found.before, found.measure) == "84.0 % (82.0–86.0)"
    assert [say_bytes(n) for n in (0, 1023, 2048, 5 * 2**20, 3 * 2**31)] == [
        "0 B",
        "1023 B",
        "2.0 KiB",
        "5.0 MiB",
        "6.00 GiB",
    ]


def test_every_word_is_in_both_languages() -> None:
    for name, found in _words().items():
        assert set(found) == {"en", "zh"}, name
        marks = [
            {m.removesuffix("_zh") for m in re.findall(r"{(\w+)}", text)} for text in found.values()
        ]
        assert marks[0] == marks[1], name
    assert all(f"rollout.{stage}" in _words() for stage in RolloutStage)

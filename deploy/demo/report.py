"""The demo report: ``report.json`` for programs, ``report.html`` for people in English and Chinese.

The page is one file that needs no network: style, script and pictures stand inside it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup, escape

from deploy.demo import pictures
from deploy.demo.facts import DemoReport, Interval, Quality
from shared.errors import BadInput

PAGE_LANGUAGES = ("en", "zh")
_KIB = 1024
Verdict = Literal["better", "same", "worse"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFiles:
    """Where a report was written."""

    json: Path
    html: Path


def render(facts: DemoReport, folder: Path) -> ReportFiles:
    """Write ``report.json`` and ``report.html`` into ``folder``, which is made where needed.

    Raises:
        BadInput: a figure is not finite.
    """
    try:
        text = json.dumps(facts.as_dict(), ensure_ascii=False, allow_nan=False, indent=2)
    except ValueError:
        raise BadInput(
            "a figure of the report is NaN or infinite", where="demo report", remedy="run it again"
        ) from None
    folder.mkdir(parents=True, exist_ok=True)
    written = ReportFiles(json=folder / "report.json", html=folder / "report.html")
    written.json.write_text(text + "\n", encoding="utf-8")
    written.html.write_text(page(facts), encoding="utf-8")
    return written


def page(facts: DemoReport) -> str:
    """Return the HTML page."""
    environment = Environment(
        loader=DictLoader({"report": _template("report.html")}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        t=both, zh=lambda name: word(name, "zh"), interval=interval, bytes=say_bytes
    )
    environment.globals["verdict"] = environment.filters["verdict_of"] = verdict
    return environment.get_template("report").render(
        report=facts,
        pictures=_pictures(facts),
        measures=_by_measure(facts),
        gates=facts.release.gates if facts.release else facts.gates,
        style=Markup(_template("report.css")),  # noqa: S704 - our own file
        script=Markup(_template("report.js")),  # noqa: S704 - our own file
    )


def verdict(row: Quality) -> Verdict:
    """Return whether the release is better; ``same`` where the two intervals overlap."""
    before, after = row.before, row.after
    if row.measure == "nll_per_token":
        before, after = after, before
    if after.low > before.high:
        return "better"
    return "worse" if after.high < before.low else "same"


def interval(found: Interval, measure: str) -> str:
    """Return a figure with its interval, for example ``84.0 % (81.2–86.5)``."""
    if measure == "intent_accuracy":
        return f"{100 * found.value:.1f} % ({100 * found.low:.1f}–{100 * found.high:.1f})"
    return f"{found.value:.3f} ({found.low:.3f}–{found.high:.3f})"


def say_bytes(value: int) -> str:
    """Return a size for people, in binary units."""
    size = float(value)
    for unit in ("B", "KiB", "MiB"):
        if size < _KIB:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= _KIB
    return f"{size:.2f} GiB"


def known(name: str) -> bool:
    """Return whether the report has a word for ``name``."""
    return name in _words()


def word(name: str, lang: str) -> str:
    """Return the word for ``name``; a language, stage or gate without one is shown as it stands."""
    found = _words().get(name)
    return found[lang] if found else name.rpartition(".")[2]


def both(name: str, **values: object) -> Markup:
    """Return a word in both page languages; style shows one of them."""
    return Markup("").join(
        Markup('<span class="t" lang="{}">{}</span>').format(lang, _filled(name, lang, values))
        for lang in PAGE_LANGUAGES
    )


def _filled(name: str, lang: str, values: Mapping[str, object]) -> Markup:
    return escape(word(name, lang)).format(**values)


@cache
def _words() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = json.loads(_template("words.json"))
    return found


@cache
def _template(name: str) -> str:
    return files("deploy.demo").joinpath("templates", name).read_text(encoding="utf-8")


def _by_measure(facts: DemoReport) -> dict[str, list[Quality]]:
    found: dict[str, list[Quality]] = {}
    for row in facts.quality:
        found.setdefault(row.measure, []).append(row)
    return found


def _pictures(facts: DemoReport) -> dict[str, Markup]:
    drawn: dict[str, str] = {}
    for measure, rows in _by_measure(facts).items():
        drawn[measure] = pictures.quality(rows)
    if facts.stores:
        drawn["epsilon"] = pictures.epsilon(facts.stores)
    drawn["traffic"] = pictures.traffic(facts.traffic, say_bytes)
    if facts.stages:
        drawn["stages"] = pictures.stages(facts.stages, known)
    if facts.rollout:
        drawn["rollout"] = pictures.rollout(facts.rollout)
    return {name: _picture(name, svg) for name, svg in drawn.items()}


def _picture(name: str, svg: str) -> Markup:
    parts: list[Any] = []
    for lang in PAGE_LANGUAGES:

        def say(mark: str, lang: str = lang) -> str:
            return str(escape(word(mark, lang)))

        label = escape(word(f"picture_{name}", lang))
        # The drawing comes from matplotlib and its words from our own table, escaped.
        inside = Markup(pictures.finish(svg, say))  # noqa: S704
        parts.append(
            Markup('<figure class="t" lang="{}" role="img" aria-label="{}">{}</figure>').format(
                lang, label, inside
            )
        )
    return Markup("\n").join(parts)

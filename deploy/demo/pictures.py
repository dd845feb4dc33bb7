"""The report's pictures, as SVG that stands inside HTML: text stays text, colours follow the page.

Labels are drawn as keys (``@@seconds@@``) and translated afterwards, and colours as stand-ins that
become CSS variables, so that one drawing serves every language and both light and dark pages.
"""

import io
import re
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from deploy.demo.facts import Quality, RolloutStep, StageTime, StoreFacts, Traffic

_STAND_INS = {
    "#010101": "var(--ink)",
    "#020202": "var(--muted)",
    "#030303": "var(--line)",
    "#040404": "var(--before)",
    "#050505": "var(--after)",
    "#060606": "var(--track)",
    "#070707": "var(--bad)",
}
INK, MUTED, LINE, BEFORE, AFTER, TRACK, BAD = _STAND_INS
_WIDTH = 7.2
_ROW = 0.36
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "storeweave",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": LINE,
    "xtick.color": MUTED,
    "ytick.color": INK,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "ytick.left": False,
}
_numbers = count(1)


def key(name: str) -> str:
    """Return the mark that :func:`finish` replaces by the word ``name``."""
    return f"@@{name}@@"


def finish(svg: str, word: Callable[[str], str]) -> str:
    """Return the drawing with its words in one language; ids are made unique for one page."""
    mark = f"p{next(_numbers)}-"
    svg = re.sub(r'\bid="', f'id="{mark}', svg)
    svg = re.sub(r'(href="|url\()#', rf"\1#{mark}", svg)
    return re.sub(r"@@([\w.]+)@@", lambda found: word(found.group(1)), svg)


def draw(rows: float, paint: Callable[[Any], None]) -> str:
    """Draw on fresh axes, ``rows`` rows high, and return bare SVG."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, 0.75 + _ROW * rows), layout="constrained")
        axes = figure.add_subplot()
        paint(axes)
        out = io.StringIO()
        figure.savefig(
            out,
            format="svg",
            transparent=True,
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
        )
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r"font-family: [^;\"]*", "font-family: var(--font)", svg)
    for stand_in, variable in _STAND_INS.items():
        svg = svg.replace(stand_in, variable)
    return svg.strip()


def _names_at_left(axes: Any, names: Sequence[str]) -> None:  # noqa: ANN401 - untyped library
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)


def _beside(axes: Any, x: float, y: float, text: str) -> None:  # noqa: ANN401 - untyped library
    axes.annotate(text, (x, y), xytext=(6, 0), textcoords="offset points", va="center")


def quality(rows: Sequence[Quality]) -> str:
    """Before and after in each language, with confidence intervals; one measure only."""
    percent = rows[0].measure == "intent_accuracy"
    factor = 100 if percent else 1

    def paint(axes: Any) -> None:  # noqa: ANN401 - untyped library
        for y, row in enumerate(rows):
            values = (factor * row.before.value, factor * row.after.value)
            axes.plot(values, (y, y), color=LINE, linewidth=5, solid_capstyle="round", zorder=1)
            for colour, shift, found in ((BEFORE, -0.13, row.before), (AFTER, 0.13, row.after)):
                axes.hlines(
                    y + shift, factor * found.low, factor * found.high, color=colour, linewidth=1.6
                )
                axes.plot(factor * found.value, y + shift, "o", color=colour, markersize=7)
        _names_at_left(axes, [key(f"lang.{row.lang}") for row in rows])
        axes.set_xlabel(key(f"axis_{rows[0].measure}"))
        axes.grid(axis="x", color=LINE, linewidth=0.6)
        axes.set_axisbelow(True)
        if percent:
            axes.set_xlim(0, 100)

    return draw(1.3 * len(rows), paint)


def epsilon(stores: Sequence[StoreFacts]) -> str:
    """What each store's customers spent this quarter, on the track of their budget."""

    def paint(axes: Any) -> None:  # noqa: ANN401 - untyped library
        for y, store in enumerate(stores):
            over = store.quarter_spent > store.quarter_budget
            before = max(0.0, store.quarter_spent - store.epsilon)
            axes.barh(y, store.quarter_budget, color=TRACK, height=0.5)
            axes.barh(y, before, color=BEFORE, height=0.5)
            axes.barh(y, store.epsilon, left=before, color=BAD if over else AFTER, height=0.5)
            end = max(store.quarter_budget, store.quarter_spent)
            _beside(axes, end, y, f"ε {store.quarter_spent:.2f} / {store.quarter_budget:.2f}")
        _names_at_left(axes, [store.store_id for store in stores])
        widest = max(max(store.quarter_budget, store.quarter_spent) for store in stores)
        axes.set_xlim(0, 1.28 * widest)
        axes.set_xlabel(key("axis_epsilon"))

    return draw(len(stores), paint)


def traffic(found: Traffic, say_bytes: Callable[[int], str]) -> str:
    """One update of ours beside one of FedAvg over full LoRA adapters."""
    bars = (
        (key("bytes_baseline"), found.baseline_bytes_per_update, BEFORE),
        (key("bytes_ours"), found.bytes_per_update, AFTER),
    )

    def paint(axes: Any) -> None:  # noqa: ANN401 - untyped library
        for y, (_, value, colour) in enumerate(bars):
            axes.barh(y, value, color=colour, height=0.5)
            _beside(axes, value, y, say_bytes(value))
        _names_at_left(axes, [name for name, _, _ in bars])
        axes.set_xlim(0, 1.25 * max(value for _, value, _ in bars))
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)

    return draw(len(bars), paint)


def stages(found: Sequence[StageTime], known: Callable[[str], bool]) -> str:
    """Where the time went, stage by stage, in order."""

    def paint(axes: Any) -> None:  # noqa: ANN401 - untyped library
        start = 0.0
        for y, stage in enumerate(found):
            axes.barh(y, stage.seconds, left=start, color=AFTER, height=0.5)
            _beside(axes, start + stage.seconds, y, f"{stage.seconds:.1f}")
            start += stage.seconds
        names = [
            key(f"stage.{stage.name}") if known(f"stage.{stage.name}") else stage.name
            for stage in found
        ]
        _names_at_left(axes, names)
        axes.set_xlim(0, 1.12 * max(start, 1e-9))
        axes.set_xlabel(key("axis_seconds"))
        axes.grid(axis="x", color=LINE, linewidth=0.6)
        axes.set_axisbelow(True)

    return draw(0.85 * len(found), paint)


def rollout(steps: Sequence[RolloutStep]) -> str:
    """The new release's share of traffic over the time since the push."""
    last = steps[-1].at_s

    def paint(axes: Any) -> None:  # noqa: ANN401 - untyped library
        times = [step.at_s for step in steps] + [last + max(1.0, 0.12 * last)]
        shares = [step.percent for step in steps] + [steps[-1].percent]
        axes.fill_between(times, shares, step="post", color=TRACK, zorder=1)
        axes.step(times, shares, where="post", color=AFTER, linewidth=2, zorder=2)
        named = steps[0]
        for step in steps:
            colour = BAD if step.errors or step.stage == "rolled_back" else AFTER
            axes.plot(step.at_s, step.percent, "o", color=colour, markersize=7, zorder=3)
            # Stages follow one another within moments; only where the share moves is there room.
            if step is not steps[-1] and step.percent == named.percent:
                continue
            named = step
            axes.annotate(
                key(f"rollout.{step.stage}") + f" {step.percent} %",
                (step.at_s, step.percent),
                xytext=(0, 9),
                textcoords="offset points",
                color=MUTED,
            )
        axes.set_ylim(-4, 122)
        axes.set_yticks([0, 50, 100], ["0 %", "50 %", "100 %"])
        axes.set_xlabel(key("axis_rollout"))
        axes.grid(axis="y", color=LINE, linewidth=0.6)
        axes.set_axisbelow(True)

    return draw(5, paint)

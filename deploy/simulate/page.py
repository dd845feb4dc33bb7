"""The results of a simulation as one page with pictures, and as JSON."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from deploy.demo.pictures import INK, MUTED, draw
from deploy.simulate.plan import Simulation

_COLOURS = {"local": "#b45309", "federated": "#0f766e", "pooled": "#6d28d9"}
_MARKS = {"local": "^", "federated": "o", "pooled": "s"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What one way gives at one epsilon in one language, over the seeds."""

    way: str
    epsilon: float
    lang: str
    mean: float
    spread: float
    """Standard deviation over seeds; 0 with one."""
    seeds: int


def points(results: Sequence[Mapping[str, Any]]) -> list[Point]:
    """Return mean and spread over seeds, by language, way and epsilon (0 last: not private)."""
    found: dict[tuple[str, str, float], list[float]] = {}
    for result in results:
        for lang, share in result["accuracy"].items():
            found.setdefault((lang, result["way"], result["epsilon"]), []).append(share)
    return [
        Point(
            way=way,
            epsilon=epsilon,
            lang=lang,
            mean=statistics.fmean(shares),
            spread=statistics.stdev(shares) if len(shares) > 1 else 0.0,
            seeds=len(shares),
        )
        for (lang, way, epsilon), shares in sorted(
            found.items(), key=lambda item: (item[0][0], item[0][2] or float("inf"), item[0][1])
        )
    ]


def write(plan: Simulation, results: Sequence[Mapping[str, Any]], folder: Path) -> Path:
    """Write ``results.json`` and ``results.html`` and return the page."""
    found = points(results)
    facts = {
        "plan": plan.model_dump(mode="json", exclude={"data", "public"}),
        "results": list(results),
    }
    (folder / "results.json").write_text(
        json.dumps(facts, ensure_ascii=False, indent=2) + "\n", "utf-8"
    )
    langs = sorted({point.lang for point in found})
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    template = (files("deploy.simulate") / "page.html").read_text("utf-8")
    text = environment.from_string(template).render(
        plan=plan,
        points=found,
        pictures=[(lang, Markup(_picture(lang, found))) for lang in langs],  # noqa: S704 - ours
    )
    page = folder / "results.html"
    page.write_text(text, "utf-8")
    return page


def _picture(lang: str, found: Sequence[Point]) -> str:
    def paint(axes: Any) -> None:  # noqa: ANN401 - untyped library
        mine = [point for point in found if point.lang == lang]
        private = sorted({point.epsilon for point in mine if point.epsilon})
        places = {epsilon: number for number, epsilon in enumerate([*private, 0.0])}
        for way, colour in _COLOURS.items():
            line = sorted((p for p in mine if p.way == way), key=lambda p: places[p.epsilon])
            if line:
                axes.errorbar(
                    [places[p.epsilon] for p in line],
                    [100 * p.mean for p in line],
                    yerr=[100 * p.spread for p in line],
                    color=colour,
                    marker=_MARKS[way],
                    label=way,
                    capsize=3,
                )
        axes.set_xticks(
            list(places.values()), [*(f"ε {e:g}" for e in private), "not private"], color=INK
        )
        axes.set_ylabel("% right", color=MUTED)
        axes.yaxis.grid(visible=True, alpha=0.3)
        axes.legend(frameon=False)

    return draw(8, paint)

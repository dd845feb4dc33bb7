"""The plan of a simulation: one TOML file; every combination of its lists is one cell."""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.errors import BadInput
from shared.hashing import digest_json

Way = Literal["local", "federated", "pooled"]
Positive = Annotated[float, Field(gt=0)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Split(_Table):
    """``[split]``: how customers fall to stores.

    ``store``: as in the data folder. ``even``: each store of the data folder is cut into ``stores``
    equal parts. ``dirichlet``: all customers go to ``stores`` stores, whose mixes of intents are
    drawn from a symmetric Dirichlet distribution with ``alpha`` (Hsu, Qi, Brown 2019).
    """

    kind: Literal["store", "even", "dirichlet"] = "store"
    stores: Annotated[int, Field(ge=1, le=200)] = 2
    alpha: Positive = 0.5


class Privacy(_Table):
    """``[privacy]``: epsilon 0 means no noise and no claim; clip and delta hold for the others."""

    epsilons: tuple[Annotated[float, Field(ge=0)], ...] = (0.0, 1.0, 2.0, 4.0, 8.0)
    delta: Annotated[float, Field(gt=0, lt=1)] = 1e-5
    clip: Positive = 0.5
    texts_per_customer: Annotated[int, Field(ge=1)] = 1


class Training(_Table):
    """``[training]``: whole-batch noisy gradient descent of a linear head on frozen features."""

    steps: Annotated[int, Field(ge=1)] = 30
    learning_rate: Positive = 80.0
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    directions: Annotated[int, Field(ge=1)] = 400
    shrinkage: Annotated[float, Field(gt=0, le=1)] = 0.1
    public_start: bool = True
    """Start from the names of the intents and the public examples instead of zeros."""


class Simulation(_Table):
    """The whole plan."""

    data: Path
    """A data folder as ``demo --data`` takes it, with labelled sentences."""
    public: Path | None = None
    """JSON lines with ``text``: public texts, of any domain, for whitening."""
    model: str = ""
    """As ``[model] base``."""
    ways: tuple[Way, ...] = ("local", "federated", "pooled")
    seeds: tuple[int, ...] = (1, 2, 3)
    split: Split = Split()
    privacy: Privacy = Privacy()
    training: Training = Training()

    @property
    def digest(self) -> str:
        """SHA-256 of the plan's JSON; a cell's result holds for one plan."""
        return digest_json(self.model_dump(mode="json", exclude={"seeds", "ways"}))

    def cells(self) -> Iterator["Cell"]:
        """Yield every cell, cheapest first."""
        for seed, epsilon, way in product(self.seeds, self.privacy.epsilons, self.ways):
            yield Cell(way=way, epsilon=epsilon, seed=seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One combination; ``epsilon`` 0 is training without privacy."""

    way: Way
    epsilon: float
    seed: int

    @property
    def key(self) -> str:
        """The cell's name among the results."""
        return f"{self.way}/{self.epsilon:g}/{self.seed}"


def read_plan(path: Path) -> Simulation:
    """Read a plan; relative folders in it are relative to the file.

    Raises:
        BadInput: not TOML, an unknown key, or a value out of range; names it.
    """
    try:
        plan = Simulation.model_validate(tomllib.loads(path.read_text("utf-8")))
    except OSError:
        raise BadInput("cannot be read", where=str(path), remedy="name a plan") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"not TOML: {error}", where=str(path), remedy="mend the line") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise BadInput(
            f"{key}: {first['msg'][:1].lower()}{first['msg'][1:]}",
            where=str(path),
            remedy="see 'Simulation' in README.md",
        ) from None
    here = path.resolve().parent
    changes = {"data": here / plan.data, "public": here / plan.public if plan.public else None}
    return plan.model_copy(update=changes)

"""Adapters of a run at rest: one safetensors file a round, whole or not there at all."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from shared.adapters import AdapterSpec, Arrays
from shared.errors import NotVerified
from shared.ids import check_id
from shared.rounds import RoundOutcome, RunPlan
from strategies.factors import initial

Loaded = dict[str, NDArray[np.float32]]


class RunFiles:
    """The folder ``runs/`` of HQ's home."""

    def __init__(self, folder: Path) -> None:
        """Keep a folder for each run in ``folder``."""
        self._folder = folder

    def adapter(self, run_id: str, number: int) -> Path:
        """Return the path of the adapter after round ``number``; 0: its start, where a release."""
        return self._folder / check_id(run_id, "run") / f"round-{number}.safetensors"

    def velocity(self, run_id: str, number: int) -> Path:
        """Return the path of the server momentum's state after round ``number``."""
        return self.adapter(run_id, number).with_suffix(".velocity.safetensors")

    def save(self, path: Path, arrays: Arrays) -> None:
        """Write ``arrays`` durably; a crash leaves the old file or the new one."""
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".new")
        with fresh.open("wb") as stream:
            stream.write(save({name: np.ascontiguousarray(v) for name, v in arrays.items()}))
            stream.flush()
            os.fsync(stream.fileno())
        fresh.replace(path)

    def ends(self, plan: RunPlan, outcomes: Sequence[RoundOutcome]) -> tuple[Loaded, Loaded]:
        """Return the adapter that a run started from and the one that its last ended round left.

        Raises:
            NotVerified: a file is missing or damaged.
        """
        spec = AdapterSpec.from_dict(plan.spec)
        ids = [plan.round_id(number) for number in range(1, plan.rounds + 1)]
        path = self.adapter(plan.run_id, 1 + ids.index(outcomes[-1].round_id))
        last = self.load(path, spec)
        first = self.load(self.adapter(plan.run_id, 0), spec)
        if last is None or (first is None and plan.start_release):
            raise NotVerified(
                "the adapter is missing",
                where=str(path if last is None else path.parent),
                remedy="restore it from a backup",
            )
        return first or initial(spec), last

    def load(self, path: Path, spec: AdapterSpec) -> Loaded | None:
        """Return the tensors of ``path``, or ``None`` where there is no such file.

        Raises:
            NotVerified: the file is damaged.
            WrongShape, NotFinite: its tensors are not those of ``spec``.
        """
        if not path.is_file():
            return None
        try:
            arrays: Loaded = load_file(path)
        except SafetensorError:
            raise NotVerified(
                "the adapter file is damaged", where=str(path), remedy="restore it from a backup"
            ) from None
        spec.check(arrays, sender=str(path))
        return arrays

"""Adapters of a run at rest: one safetensors file a round, whole or not there at all."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from shared.adapters import AdapterSpec, Arrays
from shared.errors import NotVerified
from shared.ids import check_id

Loaded = dict[str, NDArray[np.float32]]


class RunFiles:
    """The folder ``runs/`` of HQ's home."""

    def __init__(self, folder: Path) -> None:
        """Keep a folder for each run in ``folder``."""
        self._folder = folder

    def adapter(self, run_id: str, number: int) -> Path:
        """Return the path of the adapter after round ``number``; 0 is a start other than zero."""
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

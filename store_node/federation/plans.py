"""The plans that this store has accepted, a file a run: training reads the plan from here only."""

import os
from pathlib import Path

from shared.errors import Refused, WrongDigest
from shared.hashing import canonical_json
from shared.ids import check_id
from shared.rounds import RunPlan
from shared.wire.codec import parse_plan


class AcceptedPlans:
    """A folder of accepted plans."""

    def __init__(self, folder: Path) -> None:
        """Keep plans in ``folder``; it is made on the first write."""
        self._folder = folder

    def put(self, plan: RunPlan) -> None:
        """Keep ``plan`` durably, replacing an earlier one of the same run."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._path(plan.run_id)
        fresh = path.with_suffix(".new")
        with fresh.open("wb") as stream:
            stream.write(canonical_json(plan.as_dict()))
            stream.flush()
            os.fsync(stream.fileno())
        fresh.replace(path)

    def get(self, run_id: str, digest: str) -> RunPlan:
        """Return the accepted plan of a run.

        Raises:
            Refused: this store has not accepted that run.
            WrongDigest: it has accepted another plan under that id.
        """
        path = self._path(run_id)
        if not path.is_file():
            raise Refused("this store has not accepted the run", where=run_id)
        plan = parse_plan(path.read_bytes(), where=str(path))
        if plan.digest != digest:
            raise WrongDigest("not the plan that this store accepted", where=run_id)
        return plan

    def _path(self, run_id: str) -> Path:
        return self._folder / f"{check_id(run_id, 'run')}.json"

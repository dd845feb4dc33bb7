"""What an operator may do with stores and runs; the API and the commands only translate.

Whatever costs privacy goes through HQ's ledger; nothing here goes around it.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from coordinator.ports import EnrolledStore, Runs, Stores
from coordinator.rounds.plan import make_plan
from shared.adapters import AdapterSpec
from shared.clock import Clock
from shared.config import RoundSettings, Settings
from shared.errors import BadInput, IllegalMove, NotFound, Refused
from shared.ids import check_id
from shared.privacy.ledger import Ledger
from shared.rounds import RoundOutcome, RoundState, RunPlan

_OPEN = frozenset({RoundState.PLANNED, RoundState.RESERVED, RoundState.DISPATCHED})
LAUNCHED = "run.launched"
_STARTED = frozenset({LAUNCHED, "run.started"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """What operations need from whoever wires them; each may raise ``Unavailable``."""

    spec: Callable[[], AdapterSpec]
    """Derives the adapter's spec from the base model."""
    launch: Callable[[str], None]
    """Hands a planned run to the federation's transport; returns once it is accepted there."""
    admit: Callable[[EnrolledStore], None]
    """Makes a store's node known to the federation's transport."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """A run as operators see it."""

    plan: RunPlan
    states: Mapping[int, RoundState]
    outcomes: tuple[RoundOutcome, ...]

    @property
    def state(self) -> str:
        """``running``, ``planned``, ``closed``, ``refused``, ``cancelled`` or ``failed``."""
        found = set(self.states.values())
        if found & {RoundState.RESERVED, RoundState.DISPATCHED}:
            return "running"
        for state in (RoundState.PLANNED, RoundState.CLOSED, RoundState.REFUSED):
            if state in found:
                return str(state)
        return "cancelled" if RoundState.CANCELLED in found else "failed"


class Operations:
    """Stores and runs. Methods may be called from several threads."""

    def __init__(
        self,
        *,
        settings: Settings,
        ledger: Ledger,
        stores: Stores,
        runs: Runs,
        clock: Clock,
        outside: Outside,
        go_on: Callable[[RunPlan], str] = lambda _: "",
    ) -> None:
        """Bind HQ's ledger, registers and services.

        ``go_on`` lays the adapter of the release in service where a planned run will start from it,
        and returns the release's id; empty where there is none that fits.
        """
        self._settings = settings
        self._ledger = ledger
        self._stores = stores
        self._runs = runs
        self._clock = clock
        self._outside = outside
        self._go_on = go_on
        self._starting = threading.Lock()

    # --- stores --------------------------------------------------------------------------------

    def enrol(self, store: EnrolledStore) -> EnrolledStore:
        """Add a store, or change what it declares; its ledger key stays what it was.

        Raises:
            BadInput: an id, key or figure is not valid.
            Refused: the store is enrolled with another ledger key.
        """
        check_id(store.store_id, "store id")
        if len(store.ledger_key) != 64 or not _is_hex(store.ledger_key):  # noqa: PLR2004 - hex digits
            raise BadInput(
                "ledger_key is not 64 hexadecimal digits",
                where=store.store_id,
                remedy="use the file that `storeweave store join` wrote",
            )
        if store.public_customers < 1:
            raise BadInput("public_customers must be at least 1", where=store.store_id)
        held = self._stores.get(store.store_id)
        if held is not None and held.ledger_key != store.ledger_key:
            raise Refused(
                "the store is enrolled with another ledger key",
                where=store.store_id,
                remedy="a new key would hide what was spent; enrol it under a new id and cohort",
            )
        self._stores.enrol(store)
        self._outside.admit(store)
        return store

    def stores(self) -> list[EnrolledStore]:
        """Return every enrolled store."""
        return self._stores.all()

    # --- runs ----------------------------------------------------------------------------------

    def plan_run(
        self, store_ids: Sequence[str] = (), rounds: Mapping[str, Any] | None = None
    ) -> RunPlan:
        """Price a run and keep its plan; nothing is spent.

        Args:
            store_ids: who takes part; empty: every enrolled store.
            rounds: settings of ``[rounds]`` that differ in this run.

        Raises:
            NotFound: a store is not enrolled.
            BadInput: a setting is unknown or out of range.
            Refused: see :func:`coordinator.rounds.plan.make_plan`.
        """
        known = {store.store_id: store for store in self._stores.all()}
        missing = [name for name in store_ids if name not in known]
        if missing:
            raise NotFound(
                f"store {missing[0]!r} is not enrolled", remedy="see `storeweave hq enrol`"
            )
        try:
            wanted = RoundSettings.model_validate(
                {**self._settings.rounds.model_dump(), **(rounds or {})}
            )
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            raise BadInput(f"{first['loc'][0]}: {first['msg']}", where="[rounds]") from None
        plan = make_plan(
            settings=self._settings.model_copy(update={"rounds": wanted}),
            stores=[known[name] for name in store_ids or known],
            spec=self._outside.spec(),
            ledger=self._ledger,
            now=self._clock.now(),
            seconds_per_step=self._measured_step(),
        )
        plan = replace(plan, start_release=self._go_on(plan))
        self._runs.add(plan)
        return plan

    def _measured_step(self) -> float | None:
        """Return seconds of a step at the slowest store in the last measured round, if any."""
        for plan in self._runs.all():
            for outcome in reversed(self._runs.outcomes(plan.run_id)):
                seconds = outcome.seconds.get("training", 0.0)
                if seconds > 0:
                    return seconds / max(share.mechanism.steps for share in plan.shares)
        return None

    def start_run(self, run_id: str, *, resume: bool = False) -> RunView:
        """Launch a planned run, or go on with one that was cut short.

        Raises:
            NotFound: there is no such run.
            IllegalMove: no round is left to do, or it was started before and ``resume`` is false.
            Unavailable: the federation's transport cannot be reached.
        """
        with self._starting:
            run = self.run(run_id)
            if not _OPEN & set(run.states.values()):
                raise IllegalMove(
                    f"the run is {run.state}, no round is left to do",
                    where=run_id,
                    remedy="plan a new run",
                )
            launched = any(row["event"] in _STARTED for row in self._runs.events(run_id))
            if launched and not resume:
                raise IllegalMove(
                    "the run was started already",
                    where=run_id,
                    remedy="resume it if it was cut short",
                )
            self._outside.launch(run_id)
            self._runs.log(run_id, LAUNCHED, {"resume": resume})
        return self.run(run_id)

    def run(self, run_id: str) -> RunView:
        """Return a run.

        Raises:
            NotFound: there is no such run.
        """
        plan = self._runs.plan(run_id)
        if plan is None:
            raise NotFound(f"there is no run {run_id!r}", remedy="see `storeweave hq round list`")
        return self._view(plan)

    def runs(self) -> list[RunView]:
        """Return all runs, newest first."""
        return [self._view(plan) for plan in self._runs.all()]

    def events(self, run_id: str, after: int = 0) -> list[dict[str, Any]]:
        """Return a run's progress events after ``after``; ``NotFound`` where there is no run."""
        self.run(run_id)
        return self._runs.events(run_id, after)

    def _view(self, plan: RunPlan) -> RunView:
        return RunView(
            plan=plan,
            states=self._runs.states(plan.run_id),
            outcomes=tuple(self._runs.outcomes(plan.run_id)),
        )


def _is_hex(text: str) -> bool:
    return all(char in "0123456789abcdef" for char in text)

"""What an operator may do with releases: nothing reaches customers around gates and rollout."""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from coordinator.jobs import OnEvent
from coordinator.operations import RunView
from coordinator.ports import Registry, ServingControl, Stages
from coordinator.release import rollout
from shared.config import ServingSettings
from shared.errors import BadInput, GateClosed, IllegalMove, NotFound, Refused, Unavailable
from shared.releases import Release, RolloutStage
from shared.rounds import RoundState

Build = Callable[[str, OnEvent], Release]
"""Builds, gates, signs and registers the release of a run.

Where a gate closes it raises ``GateClosed`` with the rejected release's id as fact ``release``.
"""


class Releases:
    """Builds, pushes and takes back releases. Methods may be called from several threads."""

    def __init__(
        self,
        *,
        rules: ServingSettings,
        registry: Registry,
        stages: Stages,
        controls: Mapping[str, ServingControl],
        run: Callable[[str], RunView],
        build: Build,
    ) -> None:
        """Bind registry, history and inference services.

        Args:
            rules: ``[serving]``.
            registry: of releases.
            stages: their history.
            controls: the inference services by name.
            run: looks a run up, or raises ``NotFound``.
            build: see :data:`Build`.
        """
        self._rules = rules
        self._registry = registry
        self._stages = stages
        self._controls = controls
        self._run = run
        self._build = build

    def all(self) -> list[Release]:
        """Return all releases, newest first."""
        return self._registry.all()

    def get(self, release_id: str) -> Release:
        """Return a release, its signature verified.

        Raises:
            NotFound: there is no such release.
        """
        try:
            return self._registry.get(release_id)
        except BadInput as error:
            raise NotFound(
                error.what, where=error.where, remedy="see `storeweave hq release list`"
            ) from None

    def stage_of(self, release_id: str) -> RolloutStage | None:
        """Return where a release is on its way."""
        return self._stages.of(release_id)

    def history(self, release_id: str) -> list[dict[str, Any]]:
        """Return how a release got where it is."""
        return self._stages.history(release_id)

    def check_buildable(self, run_id: str) -> None:
        """Raise unless there is something to build a release of.

        Raises:
            NotFound: there is no such run.
            IllegalMove: no round of it is closed.
        """
        run = self._run(run_id)
        if RoundState.CLOSED not in run.states.values():
            raise IllegalMove(
                f"the run is {run.state}, no round of it is closed",
                where=run_id,
                remedy="run it first",
            )

    def build(self, run_id: str, on_event: OnEvent) -> Release:
        """Build the release of a finished run and put it before the gates.

        Raises:
            NotFound: there is no such run.
            IllegalMove: no round of it is closed.
            GateClosed: a gate closed; the release is kept as rejected.
        """
        self.check_buildable(run_id)
        try:
            release = self._build(run_id, on_event)
        except GateClosed as error:
            rejected = str(error.facts.get("release", ""))
            if rejected and self._stages.of(rejected) is None:
                self._stages.move(rejected, RolloutStage.REGISTERED)
                self._stages.move(rejected, RolloutStage.REJECTED, reason=error.what)
            raise
        if self._stages.of(release.release_id) is None:
            self._stages.move(release.release_id, RolloutStage.REGISTERED)
        return release

    def stable(self) -> Release | None:
        """Return the release that serves all customers, as far as was recorded here."""
        for release in self._registry.all():
            if self._stages.of(release.release_id) is RolloutStage.STABLE:
                return release
        return None

    def push(self, release_id: str, on_event: OnEvent) -> dict[str, Mapping[str, Any]]:
        """Roll a release out to every inference service, or leave each with what it had.

        Raises:
            NotFound: there is no such release.
            IllegalMove: it was rejected, or serves already.
            GateClosed: a threshold was violated; it was taken back.
        """
        release = self.get(release_id)
        history = _History(self._stages, release_id)
        history.begin()

        def tell(event: str, facts: Mapping[str, Any]) -> None:
            history.follow(event, facts)
            on_event(event, facts)

        before = self._serving()
        done = rollout.push(
            self._controls,
            release,
            self._registry.location,
            self._rules,
            on_event=tell,
        )
        for name in before - {release_id}:
            if self._stages.of(name) is RolloutStage.STABLE:
                self._stages.move(name, RolloutStage.RETIRED, reason=f"replaced by {release_id}")
        return done

    def rollback(self, reason: str, on_event: OnEvent) -> dict[str, Mapping[str, Any]]:
        """Send all traffic back to the release that served before.

        Raises:
            Refused: there is no inference service.
            StoreWeaveError: a service refused or could not be reached; every one was tried.
        """
        if not self._controls:
            raise Refused("no inference service", remedy="set [hq] inference")
        before = self._serving()
        try:
            return rollout.rollback(self._controls, reason, on_event=on_event)
        finally:
            self._record_return(before, self._serving(), reason)

    def _record_return(self, before: set[str], after: set[str], reason: str) -> None:
        for name in before - after:
            if self._stages.of(name) in {RolloutStage.STABLE, RolloutStage.CANARY}:
                self._stages.move(name, RolloutStage.ROLLED_BACK, reason=reason)
        for name in after - before:
            # The former release was kept loaded and warm; it comes back without a canary.
            if self._stages.of(name) is RolloutStage.RETIRED:
                for stage in (RolloutStage.STAGED, RolloutStage.WARM):
                    self._stages.move(name, stage, reason="kept loaded")
                self._stages.move(name, RolloutStage.STABLE, percent=100, reason=reason)

    def serving(self) -> dict[str, Mapping[str, Any]]:
        """Return the status of every inference service.

        Raises:
            Unavailable: one cannot be reached.
        """
        return {name: control.status() for name, control in self._controls.items()}

    def _serving(self) -> set[str]:
        """Return the releases that customers may meet: stable or canary of any service.

        A service that cannot be reached tells nothing; it must not stand in the way of a rollback.
        """
        found: set[str] = set()
        for control in self._controls.values():
            with contextlib.suppress(Unavailable):
                status = control.status()
                found |= {str(status[part]) for part in ("stable", "canary")}
        return found - {""}


class _History:
    """Writes a push into the history of its release; several services make one history."""

    _STAGES: Mapping[str, RolloutStage] = {
        "staged": RolloutStage.STAGED,
        "warm": RolloutStage.WARM,
        "weight": RolloutStage.CANARY,
        "promoted": RolloutStage.STABLE,
        "rolled_back": RolloutStage.ROLLED_BACK,
    }

    def __init__(self, stages: Stages, release_id: str) -> None:
        self._stages = stages
        self._release_id = release_id
        self._last: tuple[RolloutStage, int] | None = None

    def begin(self) -> None:
        """Refuse a release that may not go out; take one as registered that was built elsewhere."""
        now = self._stages.of(self._release_id)
        if now is None:
            self._stages.move(self._release_id, RolloutStage.REGISTERED)
        elif now in {RolloutStage.REJECTED, RolloutStage.STABLE}:
            raise IllegalMove(f"the release is {now}", where=self._release_id)
        elif now in {RolloutStage.STAGED, RolloutStage.WARM, RolloutStage.CANARY}:
            # An earlier push was cut short by the end of its process.
            self._stages.move(
                self._release_id, RolloutStage.ROLLED_BACK, reason="the push was interrupted"
            )

    def follow(self, event: str, facts: Mapping[str, Any]) -> None:
        """Record the first service's news of each stage; the others' say the same."""
        stage = self._STAGES.get(event)
        if stage is None:
            return
        here = (stage, int(facts.get("percent", 100 if event == "promoted" else 0)))
        if here != self._last:
            self._stages.move(self._release_id, here[0], percent=here[1])
            self._last = here

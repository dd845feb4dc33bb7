"""What the operator API takes."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from coordinator.ports import EnrolledStore
from shared.formats import Row

Identifier = Annotated[str, Field(min_length=1, max_length=63)]


class Body(BaseModel):
    """A request: frozen, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class EnrolBody(Row):
    """A store's enrolment, as ``storeweave store join`` writes it."""

    store_id: Identifier
    name: Annotated[str, Field(max_length=200)]
    lang: Annotated[str, Field(pattern=r"^[a-z]{2,3}$")]
    cohort: Annotated[str, Field(min_length=1, max_length=200)]
    ledger_key: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    node_key: Annotated[str, Field(min_length=1, max_length=2000)]
    public_customers: Annotated[int, Field(ge=1)]

    def store(self) -> EnrolledStore:
        """Return the store."""
        return EnrolledStore(**self.model_dump())


class RoundsBody(Body):
    """Settings of ``[rounds]`` that differ in this run; the rest is as configured."""

    rounds: Annotated[int, Field(ge=1)] | None = None
    steps: Annotated[int, Field(ge=1)] | None = None
    sample_rate: Annotated[float, Field(gt=0, le=1)] | None = None
    epsilon: Annotated[float, Field(gt=0)] | None = None
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    server_momentum: Annotated[float, Field(ge=0, lt=1)] | None = None
    quorum: Annotated[int, Field(ge=1)] | None = None
    deadline_s: Annotated[float, Field(gt=0)] | None = None

    def given(self) -> dict[str, Any]:
        """Return what was given."""
        return self.model_dump(exclude_none=True)


class PlanBody(Body):
    """A run to plan; no stores: every enrolled one."""

    stores: tuple[Identifier, ...] = ()
    rounds: RoundsBody = RoundsBody()


class RunBody(Body):
    """A planned run to start, or one that was cut short to go on with."""

    run_id: Identifier
    resume: bool = False


class BuildBody(Body):
    """A finished run to build a release of."""

    run_id: Identifier


class RollbackBody(Body):
    """Why all traffic goes back."""

    reason: Annotated[str, Field(min_length=1, max_length=500)] = "asked for by an operator"

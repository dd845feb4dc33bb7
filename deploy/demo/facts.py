"""What a demo run found out: the one object that the report is rendered from.

Nothing in here may come from a real customer: questions and answers are synthetic, quality is
measured on synthetic or public sets, and a store appears with its public customer count only.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Measure = Literal["nll_per_token", "intent_accuracy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The machine that the figures were measured on."""

    cpu: str
    """Model name, for example ``AMD EPYC 9R14``."""
    cores: int
    memory_bytes: int
    system: str
    """Operating system and release."""
    python: str
    torch: str
    device: str
    """``cpu`` or ``cuda``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A measured mean with its confidence interval; ``low <= value <= high``."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """One measure in one language, before and after the federation, on held-out rows.

    ``nll_per_token`` is the mean negative log-likelihood in nats per token (lower is better),
    ``intent_accuracy`` a share in [0, 1] (higher is better).
    """

    lang: str
    measure: Measure
    before: Interval
    after: Interval
    rows: int
    """Held-out rows behind both figures."""
    confidence: float = 0.95
    source: Literal["synthetic", "public"] = "synthetic"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFacts:
    """One store: what it declared publicly, what its customers spent, and whether it took part."""

    store_id: str
    name: str
    lang: str
    cohort: str
    public_customers: int
    """Declared publicly; never the private count."""
    epsilon: float
    """Spent by this run per customer, by the PLD accountant."""
    delta: float
    quarter_spent: float
    """Spent in the quarter, this run included."""
    quarter_budget: float
    year_spent: float
    year_budget: float
    sigma: float
    """Noise multiplier of each step."""
    rounds_contributed: int
    bytes_up: int
    """Bytes that this store sent over the whole run."""
    bytes_down: int
    training_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Bytes that moved, beside what the usual way would have moved for the same run.

    ``baseline_bytes_per_update`` is one message of FedAvg over full LoRA adapters (A and B,
    rank 8, every layer, query and value projections, float32) of the same base model, computed
    from its shapes.
    """

    bytes_per_update: int
    """Measured: one store's update in one round, with framing."""
    total_bytes: int
    """Measured: up and down, all stores and rounds."""
    trained_parameters: int
    baseline_bytes_per_update: int
    baseline_parameters: int
    baseline_total_bytes: int
    """Computed: the same numbers of messages as in ``total_bytes``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTime:
    """One stage of the demo and how long it took; ``name`` is a key of ``templates/words.json``."""

    name: str
    """``data``, ``model``, ``install``, ``start``, ``import``, ``samples``, ``baseline``, ``plan``,
    ``rounds``, ``build``, ``gates``, ``rollout``, ``questions``, ``verify``, ``stop``; another name
    is shown as it stands."""
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A synthetic question, asked of the base model before and of the new release after."""

    lang: str
    question: str
    before: str
    after: str
    store_id: str = ""
    expected: str = ""
    """What a good answer says, where the generator knows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """One ledger, as the stand-alone verifier found it."""

    owner: str
    """``hq`` or the store's id."""
    entries: int
    head: str
    """Hash of the last entry."""
    verified: bool
    findings: tuple[str, ...]
    """One line for each fault; empty where it verifies."""
    epsilon_pld: Mapping[str, float]
    """Largest epsilon by cohort, recomputed by the PLD accountant."""
    epsilon_rdp: Mapping[str, float]
    """The same by the RDP accountant, which bounds less tightly."""
    delta: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One gate that the release had to pass."""

    name: str
    lang: str
    """Empty where the gate is not about one language."""
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseFacts:
    """The release that came out, and the check of its manifest."""

    release_id: str
    parent: str
    manifest_digest: str
    signer: str
    signature: str
    verified: bool
    """Signature and file digests were checked after the push."""
    base_digest: str
    adapter_digest: str
    ledger_head: str
    gates: tuple[Gate, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutStep:
    """One step of the rollout as the inference service reported it."""

    at_s: float
    """Seconds since the push began."""
    stage: str
    """A value of :class:`shared.releases.RolloutStage`."""
    percent: int
    """Share of traffic that the new release had from here on."""
    requests: int = 0
    """Requests answered during the step, by both releases."""
    errors: int = 0
    p99_s: float | None = None
    """99th percentile of latency in the step; ``None`` where nothing was asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoReport:
    """All facts of one demo run; :func:`deploy.demo.report.render` writes them out."""

    created: str
    """RFC 3339, UTC."""
    version: str
    command: str
    """What to type to repeat it."""
    fast: bool
    seed: int
    run_id: str
    plan_digest: str
    rounds: int
    steps: int
    """DP-SGD steps at each store in each round."""
    base_model: str
    adapter: str
    """In words, for example ``rxr, rank 16, upper 6 layers, q_proj v_proj o_proj``."""
    unit: str
    adjacency: str
    noise: str
    """Who adds it: ``store``."""
    machine: Machine
    stores: tuple[StoreFacts, ...]
    quality: tuple[Quality, ...]
    traffic: Traffic
    stages: tuple[StageTime, ...]
    questions: tuple[Answered, ...]
    ledgers: tuple[Verification, ...]
    release: ReleaseFacts | None
    """``None`` where the gates kept it from going out; ``gates`` then says why."""
    rollout: tuple[RolloutStep, ...]
    gates: tuple[Gate, ...] = ()
    """Gates of a release that was rejected; a release that went out carries its own."""
    failures: tuple[str, ...] = ()
    """What went wrong, one line each; printed at the top."""
    notes: tuple[str, ...] = ()
    """Honest remarks on what the figures do not show."""

    @property
    def seconds(self) -> float:
        """Wall time of all stages."""
        return sum(stage.seconds for stage in self.stages)

    @property
    def verified(self) -> bool:
        """Whether every ledger verified and there was at least one."""
        return bool(self.ledgers) and all(ledger.verified for ledger in self.ledgers)

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form, as in ``report.json``."""
        return {**asdict(self), "seconds": self.seconds, "verified": self.verified}

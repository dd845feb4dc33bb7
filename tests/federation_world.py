"""A federation for tests: homes, keys, a plan, and a trainer that needs no model."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from coordinator.ports import EnrolledStore
from coordinator.wiring_rounds import Rounds, open_rounds
from deploy.pki import load_or_make_node_keys
from shared.adapters import AdapterSpec, Arrays
from shared.clock import SystemClock
from shared.config import PrivacySettings, privacy_digest
from shared.keys import SigningKey
from shared.privacy.accounting import cheapest_sigma, epsilon
from shared.privacy.events import event_of
from shared.privacy.ledger import Ledger
from shared.rounds import Mechanism, RunPlan, StoreShare
from store_node.federation.policy import Membership
from store_node.federation.service import FederationService
from store_node.ports import LocalTrainer, TrainResult

FEDERATION = "chain"
POLICY = PrivacySettings()
CUSTOMERS = 1000
SPEC = AdapterSpec(
    kind="rxr",
    rank=4,
    scale=1.0,
    upper_layers=2,
    targets=("q_proj",),
    factor_seed=1,
    base_digest="0" * 64,
    shapes={"layer.0.q_proj": (4, 4), "layer.1.q_proj": (4, 4)},
)


class FakeTrainer:
    """A trainer whose update is ``value`` everywhere; ``seconds`` is how long it takes."""

    def __init__(self, value: float = 1.0, seconds: float = 0.0, fail: bool = False) -> None:
        self.value, self.seconds, self.fail = value, seconds, fail
        self.calls = 0

    def train(
        self,
        *,
        spec: AdapterSpec,
        adapter: Arrays,
        mechanism: Mechanism,
        on_step: Callable[[int, int], None],
    ) -> TrainResult:
        self.calls += 1
        time.sleep(self.seconds)
        if self.fail:
            raise RuntimeError("a customer's words must not leave")
        update = {n: np.full(s, self.value, np.float32) for n, s in spec.shapes.items()}
        on_step(mechanism.steps, mechanism.steps)
        return TrainResult(update=update, steps=mechanism.steps, seconds=self.seconds)


def make_mechanism(target: float = 1.0, rounds: int = 2, steps: int = 4) -> Mechanism:
    sigma = cheapest_sigma(
        steps_total=rounds * steps,
        sample_rate=1.0,
        already=(),
        target_epsilon=target,
        delta=1e-6,
        min_sigma=POLICY.min_sigma,
    )
    return Mechanism(
        sampling="whole",
        sample_rate=1.0,
        batch_cap=0,
        steps=steps,
        sigma=sigma,
        clip=POLICY.clip,
        texts_per_customer=POLICY.texts_per_customer,
        batch_constant=CUSTOMERS,
        learning_rate=1.0,
    )


def make_plan(
    run_id: str,
    stores: Mapping[str, str] | tuple[str, ...],
    *,
    rounds: int = 2,
    target: float = 0.5,
    quorum: int = 1,
    deadline_s: float = 60.0,
    momentum: float = 0.0,
    policy: PrivacySettings = POLICY,
) -> RunPlan:
    mechanism = make_mechanism(target, rounds)
    cost = epsilon([event_of(mechanism, steps=mechanism.steps * rounds)], 1e-6)
    cohorts = stores if isinstance(stores, Mapping) else {s: f"{s}-customers" for s in stores}
    return RunPlan(
        run_id=run_id,
        federation=FEDERATION,
        created="2026-11-23T00:00:00.000Z",
        rounds=rounds,
        shares=tuple(
            StoreShare(
                store_id=store_id,
                cohort=cohort,
                public_customers=CUSTOMERS,
                delta=1e-6,
                mechanism=mechanism,
                epsilon=cost,
            )
            for store_id, cohort in cohorts.items()
        ),
        unit=policy.unit,
        adjacency=policy.adjacency,
        noise=policy.noise,
        spec=SPEC.as_dict(),
        privacy_digest=privacy_digest(policy),
        quorum=quorum,
        deadline_s=deadline_s,
        server_momentum=momentum,
        estimated_minutes=1.0,
        bytes_up=SPEC.payload_bytes,
        bytes_down=SPEC.payload_bytes,
    )


def make_store_home(home: Path, store_id: str, hq_key: str) -> Path:
    """What ``store init`` and ``store join`` leave: settings, keys and HQ's key."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "storeweave.toml").write_text(f'[store]\nid = "{store_id}"\n', "utf-8")
    (home / "hq.json").write_text(json.dumps({"hq_key": hq_key, "federation": FEDERATION}), "utf-8")
    SigningKey.load_or_create(home / "keys" / "ledger.key")
    load_or_make_node_keys(home / "keys")
    return home


def enrol(rounds: Rounds, home: Path, store_id: str) -> None:
    rounds.stores.enrol(
        EnrolledStore(
            store_id=store_id,
            name=store_id,
            lang="en",
            cohort=f"{store_id}-customers",
            ledger_key=SigningKey.load_or_create(home / "keys" / "ledger.key").public_hex,
            node_key=load_or_make_node_keys(home / "keys").public_text,
            public_customers=CUSTOMERS,
        )
    )


def make_service(
    home: Path,
    store_id: str,
    hq_key: str,
    trainer: LocalTrainer | None = None,
    policy: PrivacySettings = POLICY,
) -> FederationService:
    key = SigningKey.load_or_create(home / "keys" / "ledger.key")
    return FederationService(
        membership=Membership(store_id=store_id, hq_key=hq_key, federation=FEDERATION),
        key=key,
        ledger=Ledger.open(home / "ledger.db", owner=store_id, key=key, clock=SystemClock()),
        policy=policy,
        folder=home / "federation",
        trainer=lambda: trainer or FakeTrainer(),
    )


def make_chain(root: Path, store_ids: tuple[str, ...]) -> str:
    """Make HQ and stores that know each other; return HQ's key."""
    hq = root / "hq"
    with open_rounds(hq) as rounds:
        key = SigningKey.load_or_create(hq / "keys" / "ledger.key").public_hex
        for store_id in store_ids:
            enrol(rounds, make_store_home(root / store_id, store_id, key), store_id)
    return key

"""A manifest survives JSON, its signature covers all of it, and stages move by the table."""

import json
from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from shared.errors import IllegalMove
from shared.keys import SigningKey, verify
from shared.releases import ROLLOUT_MOVES, Release, RolloutStage, check_rollout_move

RELEASE = Release(
    release_id="rel-1",
    created="2026-11-23T12:00:00.000Z",
    base="tiny",
    base_digest="0" * 64,
    parent="",
    run_id="run-1",
    round_id="run-1.r2",
    ledger_head="1" * 64,
    ledger_entries=("2" * 64,),
    data_scope=("leeds:leeds-2026",),
    adapter_digest="3" * 64,
    files={"model.safetensors": "4" * 64},
    metrics={"en": {"nll_per_token": 2.4}},
    gates={"passed": True},
    epsilon={"leeds-2026": {"epsilon": 1.8, "unit": "customer"}},
    signer="5" * 64,
)
CHANGES: dict[str, Any] = {
    name: ("x",) if isinstance(getattr(RELEASE, name), tuple)
    else {"x": "y"} if isinstance(getattr(RELEASE, name), dict)
    else "x"
    for name in RELEASE.__dataclass_fields__
    if name != "signature"
}  # fmt: skip


def test_a_manifest_comes_back_from_json() -> None:
    again = Release.from_dict(json.loads(json.dumps(RELEASE.as_dict())))
    assert again == RELEASE
    assert again.digest == RELEASE.digest


def test_an_unknown_field_is_an_error() -> None:
    with pytest.raises(TypeError):
        Release.from_dict({**RELEASE.as_dict(), "extra": 1})


@pytest.mark.parametrize("name", CHANGES)
def test_the_signature_covers_every_field(name: str) -> None:
    key = SigningKey.generate()
    signature = key.sign(RELEASE.signed_bytes())
    changed = replace(RELEASE, **{name: CHANGES[name]})
    assert not verify(key.public_hex, changed.signed_bytes(), signature)
    assert verify(key.public_hex, replace(RELEASE, signature="any").signed_bytes(), signature)


@pytest.mark.parametrize(("now", "then"), list(product(RolloutStage, RolloutStage)))
def test_stages_move_by_the_table_alone(now: RolloutStage, then: RolloutStage) -> None:
    if then in ROLLOUT_MOVES[now]:
        check_rollout_move(now, then)
    else:
        with pytest.raises(IllegalMove, match=f"from {now} to {then}"):
            check_rollout_move(now, then)


def test_no_customer_meets_a_cold_or_rejected_release() -> None:
    for stage in RolloutStage:
        if stage not in {RolloutStage.WARM, RolloutStage.CANARY}:
            assert not ROLLOUT_MOVES[stage] & {RolloutStage.CANARY, RolloutStage.STABLE}
    assert ROLLOUT_MOVES[RolloutStage.REJECTED] == frozenset()

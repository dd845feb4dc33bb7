"""Whole runs without Flower: HQ's round service and stores' services talk in memory."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from coordinator.rounds.collect import Reply
from coordinator.rounds.files import RunFiles
from coordinator.wiring_rounds import Rounds, open_rounds
from shared.config import PrivacySettings
from shared.errors import BudgetRefused, IllegalMove
from shared.hashing import digest_arrays
from shared.rounds import RoundOutcome, RoundState
from store_node.federation.service import FederationService
from strategies.factors import initial
from tests.federation_fakes import Liar
from tests.federation_world import (
    SPEC,
    FakeTrainer,
    make_chain,
    make_plan,
    make_service,
)

STORES = ("berlin", "kyoto", "riyadh")
Chain = tuple[Rounds, dict[str, FederationService], str]


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    key = make_chain(tmp_path, STORES)
    services = {name: make_service(tmp_path / name, name, key) for name in STORES}
    with open_rounds(tmp_path / "hq") as rounds:
        yield rounds, services, key
    for service in services.values():
        service._ledger.close()


def propose(rounds: Rounds, services: dict[str, FederationService], run_id: str) -> bool:
    bodies = rounds.service.propose(run_id)
    replies = [
        Reply(sender=name, body=service.handle_proposal(bodies[name]))
        for name, service in services.items()
    ]
    settlement = rounds.service.settle(run_id, replies)
    for name, body in settlement.withdrawals.items():
        services[name].handle_withdrawal(body)
    return settlement.goes_on


def one_round(
    rounds: Rounds, services: dict[str, FederationService | Liar], run_id: str, number: int
) -> RoundOutcome:
    orders = rounds.service.open_round(run_id, number)
    replies = []
    for name, body in orders.bodies.items():
        if name in services:
            receipt, update = services[name].handle_train(body, orders.arrays)
            replies.append(Reply(sender=name, body=receipt, arrays=update, bytes_up=len(receipt)))
    return rounds.service.close_round(run_id, number, replies, dict.fromkeys(orders.bodies, 10))


def states(ledger_of: object, run_id: str) -> list[str]:
    return [str(r.state) for r in ledger_of.reservations(run_id)]  # type: ignore[attr-defined]


def test_two_rounds_with_three_stores(chain: Chain) -> None:
    rounds, services, _key = chain
    rounds.runs.add(make_plan("run-1", STORES))
    assert propose(rounds, services, "run-1")
    for number in (1, 2):
        outcome = one_round(rounds, services, "run-1", number)
        assert outcome.state is RoundState.CLOSED
        assert outcome.contributed == STORES
        assert outcome.refused == ()
    after = rounds.service.adapter_before("run-1", 3)
    assert all(np.allclose(value, 2.0) for value in after.values())
    assert digest_arrays(after) == outcome.adapter_digest
    assert states(rounds.ledger, "run-1") == ["committed"] * 6
    for service in services.values():
        assert states(service._ledger, "run-1") == ["committed"] * 2
    events = [event["event"] for event in rounds.runs.events("run-1")]
    assert events.count("round.closed") == 2


def test_a_run_of_lora_starts_from_the_seeded_a_and_moves_both_tensors(chain: Chain) -> None:
    rounds, services, _key = chain
    shapes = {"layer.0.q_proj.lora_A": (4, 8), "layer.0.q_proj.lora_B": (6, 4)}
    spec = replace(SPEC, kind="lora", shapes=shapes)
    rounds.runs.add(replace(make_plan("run-1", STORES), spec=spec.as_dict()))
    assert propose(rounds, services, "run-1")
    start = rounds.service.adapter_before("run-1", 1)
    assert start["layer.0.q_proj.lora_A"].any()
    outcomes = [one_round(rounds, services, "run-1", number) for number in (1, 2)]
    files = RunFiles(rounds.home / "runs")
    first, last = files.ends(rounds.service.plan("run-1"), outcomes)
    for name, array in initial(spec).items():
        np.testing.assert_array_equal(first[name], array)
        np.testing.assert_allclose(last[name], array + 2.0, rtol=1e-6)


def test_missing_store_adds_nothing_and_denominator_stays(chain: Chain) -> None:
    rounds, services, _key = chain
    rounds.runs.add(make_plan("run-1", STORES))
    assert propose(rounds, services, "run-1")
    there = {name: services[name] for name in STORES[:2]}
    outcome = one_round(rounds, there, "run-1", 1)
    assert outcome.contributed == STORES[:2]
    assert [(r.sender, r.code) for r in outcome.refused] == [("riyadh", "late_reply")]
    after = rounds.service.adapter_before("run-1", 2)
    assert all(np.allclose(value, 2 / 3) for value in after.values())


@pytest.mark.parametrize(
    ("mode", "code"),
    [
        ("nan", "not_finite"),
        ("digest", "wrong_digest"),
        ("shape", "wrong_shape"),
        ("forged", "bad_signature"),
    ],
)
def test_bad_update_is_refused_by_name_and_round_closes(chain: Chain, mode: str, code: str) -> None:
    rounds, services, _key = chain
    rounds.runs.add(make_plan("run-1", STORES))
    assert propose(rounds, services, "run-1")
    honest = services["kyoto"]
    services = {**services, "kyoto": Liar(honest, honest._key, mode)}
    outcome = one_round(rounds, services, "run-1", 1)
    assert outcome.state is RoundState.CLOSED
    assert outcome.contributed == ("berlin", "riyadh")
    assert [(r.sender, r.code) for r in outcome.refused] == [("kyoto", code)]
    held = {r.store_id: str(r.state) for r in rounds.ledger.reservations("run-1") if r.number == 1}
    assert held == {"berlin": "committed", "kyoto": "aborted", "riyadh": "committed"}


def test_quorum_not_met_fails_the_round_and_keeps_the_adapter(chain: Chain) -> None:
    rounds, services, _key = chain
    rounds.runs.add(make_plan("run-1", STORES, quorum=2))
    assert propose(rounds, services, "run-1")
    outcome = one_round(rounds, {"berlin": services["berlin"]}, "run-1", 1)
    assert outcome.state is RoundState.FAILED
    assert outcome.adapter_digest == digest_arrays(initial(SPEC))
    assert one_round(rounds, services, "run-1", 2).state is RoundState.CLOSED


def test_refusing_store_cancels_everything(chain: Chain, tmp_path: Path) -> None:
    rounds, services, key = chain
    services["kyoto"]._ledger.close()
    strict = PrivacySettings(quarter_epsilon=0.1)
    services["kyoto"] = make_service(tmp_path / "kyoto", "kyoto", key, policy=strict)
    rounds.runs.add(make_plan("run-1", STORES))
    assert not propose(rounds, services, "run-1")
    assert set(rounds.runs.states("run-1").values()) == {RoundState.REFUSED}
    assert set(states(rounds.ledger, "run-1")) == {"cancelled"}
    assert set(states(services["berlin"]._ledger, "run-1")) == {"cancelled"}
    assert states(services["kyoto"]._ledger, "run-1") == []


def test_second_run_over_the_remainder_is_refused_before_stores_are_asked(chain: Chain) -> None:
    rounds, services, _key = chain
    rounds.runs.add(make_plan("run-1", STORES, target=1.9))
    rounds.runs.add(make_plan("run-2", STORES, target=1.9))
    assert propose(rounds, services, "run-1")
    with pytest.raises(BudgetRefused):
        rounds.service.propose("run-2")
    assert set(rounds.runs.states("run-2").values()) == {RoundState.REFUSED}
    assert states(services["berlin"]._ledger, "run-2") == []


def test_resume_after_crash_fails_the_open_round_and_goes_on(chain: Chain, tmp_path: Path) -> None:
    rounds, services, _key = chain
    rounds.runs.add(make_plan("run-1", STORES, rounds=3))
    assert propose(rounds, services, "run-1")
    one_round(rounds, services, "run-1", 1)
    orders = rounds.service.open_round("run-1", 2)
    for name, body in orders.bodies.items():
        services[name].handle_train(body, orders.arrays)
    with open_rounds(tmp_path / "hq") as again:
        assert again.service.resume("run-1") == (3,)
        assert again.service.proposed("run-1")
        failed = again.runs.outcomes("run-1")[1]
        assert failed.state is RoundState.FAILED
        outcome = one_round(again, services, "run-1", 3)
        assert outcome.contributed == STORES
        after = again.service.adapter_before("run-1", 4)
        assert all(np.allclose(value, 2.0) for value in after.values())


def test_resume_before_the_answers_reserves_once(chain: Chain, tmp_path: Path) -> None:
    rounds, services, _key = chain
    rounds.runs.add(make_plan("run-1", STORES))
    for name, body in rounds.service.propose("run-1").items():
        services[name].handle_proposal(body)
    with open_rounds(tmp_path / "hq") as again:
        assert not again.service.proposed("run-1")
        assert propose(again, services, "run-1")
        assert len(again.ledger.reservations("run-1")) == 6


def test_silent_store_is_left_out_and_not_charged_at_hq(chain: Chain) -> None:
    rounds, services, _key = chain
    rounds.runs.add(make_plan("run-1", STORES, quorum=2))
    bodies = rounds.service.propose("run-1")
    two = STORES[:2]
    replies = [Reply(sender=n, body=services[n].handle_proposal(bodies[n])) for n in two]
    settlement = rounds.service.settle("run-1", replies)
    assert settlement.accepted == two
    assert set(settlement.withdrawals) == {"riyadh"}
    assert tuple(rounds.service.open_round("run-1", 1).bodies) == two
    kept = {r.store_id for r in rounds.ledger.reservations("run-1") if r.state != "cancelled"}
    assert kept == set(two)


def test_stranger_and_duplicate_are_refused(chain: Chain) -> None:
    rounds, services, _key = chain
    rounds.runs.add(make_plan("run-1", STORES))
    assert propose(rounds, services, "run-1")
    orders = rounds.service.open_round("run-1", 1)
    replies = []
    for name, body in orders.bodies.items():
        receipt, update = services[name].handle_train(body, orders.arrays)
        replies.append(Reply(sender=name, body=receipt, arrays=update))
    replies += [replies[0], Reply(sender="node-7", body=replies[1].body, arrays=replies[1].arrays)]
    outcome = rounds.service.close_round("run-1", 1, replies, {})
    assert outcome.contributed == STORES
    codes = [(r.sender, r.code) for r in outcome.refused]
    assert codes == [("berlin", "unplanned_contribution"), ("node-7", "unplanned_contribution")]
    assert set(states(rounds.ledger, "run-1")[::2]) == {"committed"}


def test_late_reply_of_the_round_before_is_refused_and_the_right_one_counts(chain: Chain) -> None:
    rounds, services, _key = chain
    rounds.runs.add(make_plan("run-1", STORES))
    assert propose(rounds, services, "run-1")
    orders = rounds.service.open_round("run-1", 1)
    body, update = services["riyadh"].handle_train(orders.bodies["riyadh"], orders.arrays)
    late = Reply(sender="riyadh", body=body, arrays=update)
    first = []
    for name in STORES[:2]:
        receipt, arrays = services[name].handle_train(orders.bodies[name], orders.arrays)
        first.append(Reply(sender=name, body=receipt, arrays=arrays))
    rounds.service.close_round("run-1", 1, first, {})
    orders = rounds.service.open_round("run-1", 2)
    second = [late]
    for name in STORES:
        receipt, arrays = services[name].handle_train(orders.bodies[name], orders.arrays)
        second.append(Reply(sender=name, body=receipt, arrays=arrays))
    outcome = rounds.service.close_round("run-1", 2, second, {})
    assert outcome.contributed == STORES
    assert [(r.sender, r.code) for r in outcome.refused] == [("riyadh", "late_reply")]


def test_server_momentum_survives_a_restart(chain: Chain, tmp_path: Path) -> None:
    rounds, services, _key = chain
    rounds.runs.add(make_plan("run-1", STORES, momentum=0.5))
    assert propose(rounds, services, "run-1")
    one_round(rounds, services, "run-1", 1)
    with open_rounds(tmp_path / "hq") as again:
        one_round(again, services, "run-1", 2)
        after = again.service.adapter_before("run-1", 3)
    assert all(np.allclose(value, 1.0 + 1.5) for value in after.values())


def test_failed_training_is_reported_without_its_words(chain: Chain, tmp_path: Path) -> None:
    rounds, services, key = chain
    services["kyoto"]._ledger.close()
    services["kyoto"] = make_service(tmp_path / "kyoto", "kyoto", key, FakeTrainer(fail=True))
    rounds.runs.add(make_plan("run-1", STORES))
    assert propose(rounds, services, "run-1")
    outcome = one_round(rounds, services, "run-1", 1)
    assert [(r.sender, r.code) for r in outcome.refused] == [("kyoto", "failure")]
    assert "words" not in outcome.refused[0].reason
    assert "RuntimeError" in outcome.refused[0].reason
    assert states(services["kyoto"]._ledger, "run-1") == ["aborted", "reserved"]


def test_round_cannot_be_opened_twice(chain: Chain) -> None:
    rounds, services, _key = chain
    rounds.runs.add(make_plan("run-1", STORES))
    assert propose(rounds, services, "run-1")
    rounds.service.open_round("run-1", 1)
    with pytest.raises(IllegalMove):
        rounds.service.open_round("run-1", 1)

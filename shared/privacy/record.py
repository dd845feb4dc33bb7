"""What entries say: the bodies of ``reserve``, of moves and of noted heads."""

from typing import Any

from shared.config import PrivacySettings
from shared.ids import new_id
from shared.privacy.accounting import accountant_name
from shared.privacy.budget import Figures
from shared.privacy.code import code_digest
from shared.privacy.entries import Reservation, SignedHead
from shared.privacy.events import event_of
from shared.rounds import RunPlan, StoreShare

THREAT_MODEL = "noise added at the store; HQ, network and other stores not trusted"
_LONGEST_TEXT = 300


def one_line(value: Any) -> Any:  # noqa: ANN401 - a JSON value
    """Return one short line of what may be a foreign text; anything else as it is."""
    return " ".join(value.split())[:_LONGEST_TEXT] if isinstance(value, str) else value


def move_body(held: Reservation, facts: dict[str, Any]) -> dict[str, Any]:
    """Return the body of a move of a reservation."""
    return {
        "reservation_id": held.reservation_id,
        "run_id": held.run_id,
        "round_id": held.round_id,
        "store_id": held.store_id,
        "cohort": held.cohort,
        "steps_planned": held.mechanism.steps,
        **{name: one_line(value) for name, value in facts.items()},
    }


def head_body(head: SignedHead) -> dict[str, Any]:
    """Return the body that notes a counterpart's head."""
    return {
        "owner": head.owner,
        "length": head.length,
        "hash": head.hash,
        "key": head.key,
        "signature": head.signature.hex(),
    }


def reserve_body(
    plan: RunPlan,
    plan_digest: str,
    share: StoreShare,
    policy: PrivacySettings,
    figures: Figures,
    purpose: str,
) -> dict[str, Any]:
    """Return the body of one store's reservation: all that accounting needs, no private count."""
    return {
        "run_id": plan.run_id,
        "federation": plan.federation,
        "plan_digest": plan_digest,
        "purpose": purpose,
        "store_id": share.store_id,
        "cohort": share.cohort,
        "unit": plan.unit,
        "adjacency": plan.adjacency,
        "threat_model": THREAT_MODEL,
        "noise": plan.noise,
        "public_customers": share.public_customers,
        "stores_per_customer": policy.stores_per_customer,
        "mechanism": share.mechanism.as_dict(),
        "event": event_of(share.mechanism, cohort=share.cohort).as_dict(),
        "delta": share.delta,
        "accountant": accountant_name(),
        "epsilon": figures.as_dict(),
        "digests": {
            "code": code_digest(),
            "privacy": plan.privacy_digest,
            "base": str(plan.spec.get("base_digest", "")),
        },
        "rounds": [
            {
                "reservation_id": new_id("rsv"),
                "round_id": plan.round_id(number),
                "number": number,
            }
            for number in range(1, plan.rounds + 1)
        ],
    }

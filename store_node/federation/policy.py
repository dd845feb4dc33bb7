"""Whether a plan keeps what this store promised its customers, by its own settings; pure."""

from collections.abc import Collection
from dataclasses import dataclass

from shared.config import PrivacySettings
from shared.errors import Refused
from shared.privacy.budget import check_share
from shared.rounds import RunPlan, StoreShare


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """What the store fixed when it joined: whom it trusts, which cohort its customers are in."""

    store_id: str
    hq_key: str
    federation: str
    cohort: str = ""
    """Empty: the cohort of the first accepted plan stays the only one."""


def check_plan(
    plan: RunPlan, member: Membership, *, cohorts: Collection[str], policy: PrivacySettings
) -> StoreShare:
    """Return this store's share of ``plan`` where the store's own policy allows it.

    ``cohorts`` are those that the store's ledger knows; HQ cannot get a fresh budget by naming the
    same customers anew. The ledger checks the budget itself.

    Raises:
        Refused: names the first promise that the plan would break.
    """
    share = plan.share(member.store_id)
    known = {member.cohort} if member.cohort else set(cohorts)
    if share is None:
        raise _refused("this store is not in the plan")
    if plan.federation != member.federation:
        raise _refused(f"the plan is of federation {plan.federation!r}")
    if known and share.cohort not in known:
        raise _refused(f"this store's customers are not in cohort {share.cohort!r}")
    check_share(plan, share, policy)
    return share


def _refused(why: str) -> Refused:
    return Refused(
        f"plan refused: {why}",
        where="store policy",
        remedy="let HQ and store agree on the federation, then plan again",
    )

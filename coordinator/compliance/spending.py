"""What was spent and what is left, and the proof: HQ's ledger as a stranger would check it."""

import threading
from pathlib import Path
from typing import Any

from coordinator.ports import EnrolledStore, Stores
from shared.clock import Clock, quarter_of
from shared.config import PrivacySettings
from shared.privacy.budget import delta_for
from shared.privacy.ledger import Ledger, SignedHead
from shared.privacy.verify import Report, verify_file


class Spending:
    """Budget and ledger, for reading only. Methods may be called from several threads."""

    def __init__(
        self, *, policy: PrivacySettings, ledger: Ledger, stores: Stores, clock: Clock
    ) -> None:
        """Read from HQ's ledger and register of stores."""
        self._policy = policy
        self._ledger = ledger
        self._stores = stores
        self._clock = clock
        self._accounting = threading.Lock()
        self._budget_mark: tuple[object, ...] = ()
        self._budget: list[dict[str, Any]] = []

    def budget(self) -> list[dict[str, Any]]:
        """Return what each store's cohort has spent and has left, at its own delta."""
        with self._accounting:
            enrolled = self._stores.all()
            mark = (self.head().hash, self.quarter(), tuple(enrolled))
            if mark != self._budget_mark:
                # Accounting takes seconds and pages ask often: only what is new is worth it.
                self._budget = [self._budget_of(store) for store in enrolled]
                self._budget_mark = mark
            return [dict(row) for row in self._budget]

    def _budget_of(self, store: EnrolledStore) -> dict[str, Any]:
        policy = self._policy
        delta = delta_for(policy, store.public_customers)
        state = self._ledger.budget(store.cohort, policy, delta).as_dict()
        for name in ("quarter_events", "year_events"):
            state.pop(name, None)
        return {"store_id": store.store_id, **state}

    def quarter(self) -> str:
        """Return the quarter that spending counts in now."""
        return quarter_of(self._clock.now())

    def head(self) -> SignedHead:
        """Return the signed head of HQ's ledger."""
        return self._ledger.sign_head()

    def export_ledger(self, out: Path) -> SignedHead:
        """Write HQ's ledger as one file that a stranger can verify."""
        return self._ledger.export(out)

    def verify_ledger(self, scratch: Path) -> Report:
        """Export HQ's ledger to ``scratch`` and verify that file, as a stranger would."""
        head = self._ledger.export(scratch)
        return verify_file(scratch, trusted={head.owner: head.key})

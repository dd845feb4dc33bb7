"""The Flower strategy: configures, calls the round service, hands the adapter back."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from logging import getLogger

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from coordinator.flower.grid import message_bytes, nodes_of_stores
from coordinator.flower.messages import array_record, incoming, outgoing
from coordinator.rounds.service import RoundService
from shared.rounds import RoundOutcome
from shared.wire.names import PROPOSE_TYPE, TRAIN_TYPE, WITHDRAW_TYPE

ANSWER_S = 120.0
"""How long a store may take to answer a proposal."""
ONLINE_S = 30.0
"""How long HQ waits for planned stores to come online."""
_TTL_MARGIN_S = 5.0
_POLL_S = 0.2
_log = getLogger(__name__)

WhoIs = Callable[[Grid], dict[int, str]]
"""Tells the store behind each node that is online."""


def by_node_key(node_keys: Mapping[str, str]) -> WhoIs:
    """Return a :data:`WhoIs` that goes by the public keys that stores enrolled."""
    return lambda grid: nodes_of_stores(grid.get_nodes(), node_keys)


class RoundStrategy(Strategy):
    """One run: the stores' consent first, then each round that is still to do.

    ``start`` of the base class counts from 1; ``numbers`` says which of the run's rounds that is.
    """

    def __init__(self, service: RoundService, run_id: str, who_is: WhoIs) -> None:
        """Bind the run."""
        self._service = service
        self._run_id = run_id
        self._plan = service.plan(run_id)
        self._who_is = who_is
        self._numbers: Sequence[int] = ()
        self._bytes_down: dict[str, int] = {}
        self._stores: dict[int, str] = {}
        self.outcomes: list[RoundOutcome] = []

    def execute(self, grid: Grid) -> bool:
        """Carry the run to its end; return whether it took place.

        Raises:
            BudgetRefused: HQ's own ledger does not allow it.
        """
        self._numbers = self._service.resume(self._run_id)
        if not self._numbers:
            return True
        if not self._service.proposed(self._run_id) and not self._propose(grid):
            return False
        first = self._service.adapter_before(self._run_id, self._numbers[0])
        self.start(
            grid,
            array_record(first),
            num_rounds=len(self._numbers),
            timeout=self._plan.deadline_s,
        )
        return True

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Dispatch the round and return its orders; a store that is not online gets none."""
        orders = self._service.open_round(self._run_id, self._numbers[server_round - 1])
        nodes = self._nodes(grid, orders.bodies)
        record = array_record(orders.arrays)
        ttl_s = self._plan.deadline_s + _TTL_MARGIN_S
        messages: list[Message] = []
        self._bytes_down = {}
        for store_id, node in nodes.items():
            message = outgoing(orders.bodies[store_id], node, TRAIN_TYPE, ttl_s, record)
            self._bytes_down[store_id] = message_bytes(message)
            messages.append(message)
        return messages

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Close the round with what came back."""
        found = [incoming(message, self._stores) for message in replies]
        number = self._numbers[server_round - 1]
        outcome = self._service.close_round(self._run_id, number, found, self._bytes_down)
        self.outcomes.append(outcome)
        after = self._service.adapter_before(self._run_id, number + 1)
        return array_record(after), MetricRecord({"contributed": len(outcome.contributed)})

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Return nothing: no figure about private text leaves a store."""
        return ()

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """Return nothing, see :meth:`configure_evaluate`."""
        return None

    def summary(self) -> None:
        """Log what the run is."""
        _log.info("run of %d rounds over %d stores", self._plan.rounds, len(self._plan.shares))

    def _propose(self, grid: Grid) -> bool:
        bodies = self._service.propose(self._run_id)
        replies = self._ask(grid, bodies, PROPOSE_TYPE)
        settlement = self._service.settle(
            self._run_id, [incoming(message, self._stores) for message in replies]
        )
        if settlement.withdrawals:
            self._ask(grid, settlement.withdrawals, WITHDRAW_TYPE, online_s=0.0)
        return settlement.goes_on

    def _ask(
        self, grid: Grid, bodies: Mapping[str, bytes], kind: str, online_s: float = ONLINE_S
    ) -> Iterable[Message]:
        nodes = self._nodes(grid, bodies, online_s)
        answer_s = min(ANSWER_S, self._plan.deadline_s)
        messages = [outgoing(bodies[name], node, kind, answer_s) for name, node in nodes.items()]
        return grid.send_and_receive(messages, timeout=answer_s)

    def _nodes(
        self, grid: Grid, wanted: Iterable[str], online_s: float = ONLINE_S
    ) -> dict[str, int]:
        """Return the node of each wanted store, after waiting for those that are missing."""
        names = set(wanted)
        end = time.monotonic() + min(online_s, self._plan.deadline_s / 2)
        while True:
            self._stores |= self._who_is(grid)
            online = {name: node for node, name in self._who_is(grid).items() if name in names}
            if names <= online.keys() or time.monotonic() > end:
                return online
            time.sleep(_POLL_S)

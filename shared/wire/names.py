"""Names inside Flower messages that both sides use."""

from collections.abc import Mapping

ENVELOPE = "storeweave"
"""The config record that holds the protobuf message."""
BODY = "body"
ARRAYS = "arrays"
"""The array record that holds the tensors by name."""
PROPOSE = "propose"
WITHDRAW = "withdraw"
TRAIN_TYPE = "train"
PROPOSE_TYPE = f"query.{PROPOSE}"
WITHDRAW_TYPE = f"query.{WITHDRAW}"
RUN_CONFIG_RUN_ID = "run-id"
"""The one key of a Flower run's configuration: our run's id."""
PARENT_ENV = "STOREWEAVE_PARENT_PID"
"""Environment variable: a Flower server of ours ends when this process does."""
QUICK_PULLS: Mapping[str, float] = {"initial_backoff": 0.1, "backoff_cap": 5.0}
"""How soon a part of a message that is still on its way is asked for again, in seconds."""

"""``flower-superlink`` that starts no app but ours: ``python -m coordinator.flower.superlink …``.

Flower 1.41's control API lets whoever reaches the SuperLink start an app with code of its own,
which would then run at HQ. This start-up takes the same options and refuses such apps; see
``coordinator/README.md`` for what else must stand in front of it.
"""

import os
import sys
from collections.abc import Callable
from logging import getLogger
from typing import Any

from flwr.supercore.app_utils import start_parent_process_monitor
from flwr.supercore.error import ApiErrorCode, FlowerError
from flwr.superlink.cli.flower_superlink import flower_superlink
from flwr.superlink.servicer.control import control_handlers

from shared.errors import NotVerified
from shared.wire.bundle import check_bundle
from shared.wire.names import PARENT_ENV

_log = getLogger(__name__)


def guarded(start_run: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``start_run`` that refuses any app but a bundle without code that names ours."""

    def start(request: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - Flower's own types
        try:
            check_bundle(request.fab.content)
        except NotVerified as error:
            _log.warning("%s", error)
            raise FlowerError(ApiErrorCode.INVALID_RUN_CONFIG, str(error)) from None
        return start_run(request, *args, **kwargs)

    return start


def main() -> None:
    """Guard the control API, then run the SuperLink with the options of the command line."""
    control_handlers.start_run = guarded(control_handlers.start_run)
    if parent := os.environ.get(PARENT_ENV):
        start_parent_process_monitor(int(parent))
    sys.argv[0] = "flower-superlink"
    flower_superlink()


if __name__ == "__main__":
    main()

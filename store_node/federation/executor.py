"""Runs each ClientApp in a process forked from a warm one, instead of a cold start a message.

``python -m store_node.federation.executor …`` takes the options of ``flower-superexec``. A cold
``flwr-clientapp`` spends 2 to 4 seconds on imports for every message; a fork server that has the
modules loaded answers in a fraction of it. Each message still has a process of its own, and its
token no longer shows in the list of processes. ``STOREWEAVE_PRELOAD`` names more modules to load
beforehand, separated by commas, for example ``torch``.
"""

import multiprocessing
import os
import sys
from multiprocessing import forkserver
from typing import Any

from flwr.supercore.cli.flower_superexec import flower_superexec
from flwr.supercore.constant import TaskType
from flwr.supercore.superexec import run_superexec as loop
from flwr.supercore.superexec.executor import ExecutionSpec, LaunchResult
from flwr.supercore.superexec.executor.subprocess_executor import SubprocessExecutor

PRELOAD_ENV = "STOREWEAVE_PRELOAD"
_WARM = "store_node.federation.warm"


class WarmExecutor(SubprocessExecutor):
    """Flower's executor, with ClientApps forked from a process that has loaded their modules."""

    def __init__(self) -> None:
        """Start the fork server; it loads in the background."""
        named = os.environ.get(PRELOAD_ENV, "").split(",")
        multiprocessing.set_forkserver_preload([*filter(None, named), _WARM])
        self._context = multiprocessing.get_context("forkserver")
        forkserver.ensure_running()
        self._tasks: list[Any] = []

    def launch(self, spec: ExecutionSpec) -> LaunchResult:
        """Fork a process for a ClientApp; anything else starts as Flower starts it."""
        if spec.task_type is not TaskType.CLIENT_APP:
            return super().launch(spec)
        from store_node.federation.task import run_task  # noqa: PLC0415 - not needed in the parent

        options = {
            "runtime_api_address": spec.runtime_api_address,
            "token": spec.token,
            "insecure": spec.insecure,
            "root_certificates": spec.root_certificates_path,
            "parent_pid": spec.parent_pid,
        }
        task = self._context.Process(target=run_task, kwargs=options)
        task.start()
        self._tasks = [one for one in self._tasks if one.is_alive()] + [task]
        return LaunchResult.accepted()


def main() -> None:
    """Put the executor in place, then run the SuperExec with the options of the command line."""
    loop.get_executor = lambda *_args, **_options: WarmExecutor()
    sys.argv[0] = "flower-superexec"
    flower_superexec()


if __name__ == "__main__":
    main()

"""One ClientApp process, as ``flwr-clientapp`` is, but callable in a forked process."""

from functools import partial

from flwr.supercore.tls import validate_and_resolve_root_certificates
from flwr.supernode.runtime import run_clientapp as runtime

from shared.wire.names import QUICK_PULLS


def run_task(
    *,
    runtime_api_address: str,
    token: str,
    insecure: bool,
    root_certificates: str | None,
    parent_pid: int | None,
) -> None:
    """Fetch the message behind ``token`` from the SuperNode, answer it, and end the process."""
    runtime.pull_and_inflate_object_from_tree = partial(
        runtime.pull_and_inflate_object_from_tree, **QUICK_PULLS
    )
    runtime.run_clientapp(
        runtime_api_address=runtime_api_address,
        token=token,
        insecure=insecure,
        certificates=validate_and_resolve_root_certificates(root_certificates, insecure),
        parent_pid=parent_pid,
        runtime_dependency_install=False,
    )

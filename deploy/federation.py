"""Flower on this machine: HQ's SuperLink and the stores' SuperNodes, with TLS and node keys."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import tomli_w

from deploy.children import Child, accepts, base_environment, free_port
from deploy.pki import CertificateFiles, issue, load_or_make_authority, load_or_make_node_keys
from shared.errors import Unavailable
from shared.wire.bundle import CONFIG_FILE, bundle_config
from shared.wire.names import PARENT_ENV

CONNECTION = "hq"
_START_S = 60.0
_AGAIN_S = 2.0
_CLI_S = 60.0
_QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.2",
    "PYTHONUNBUFFERED": "1",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SuperLinkAddress:
    """Where HQ's SuperLink listens, and which authority vouches for it."""

    host: str
    port: int
    authority: Path

    @property
    def text(self) -> str:
        """``host:port``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def flower_environment(home: Path, *, tied: bool = False) -> dict[str, str]:
    """Return the environment of Flower programs: the home's folder, no telemetry, quick polls.

    A ``tied`` server ends when this process does, even if it is killed.
    """
    flower = home / "flower"
    flower.mkdir(parents=True, exist_ok=True)
    own = {"STOREWEAVE_HOME": str(home), "FLWR_HOME": str(flower)}
    parent = {PARENT_ENV: str(os.getpid())} if tied else {}
    return {**base_environment(), **_QUIET, **own, **parent}


def hq_certificates(home: Path, host: str) -> CertificateFiles:
    """Return a certificate for HQ's servers, issued by the authority in ``home/pki``."""
    authority = load_or_make_authority(home / "pki")
    hosts = dict.fromkeys(("localhost", "127.0.0.1", host))
    return issue(authority, home / "pki", "superlink", tuple(hosts))


def start_superlink(
    home: Path, *, host: str = "127.0.0.1", port: int = 0, tied: bool = True
) -> tuple[Child, SuperLinkAddress]:
    """Start HQ's SuperLink with TLS, node authentication and a database that outlives it.

    Raises:
        Unavailable: it does not listen within a minute.
    """
    files = hq_certificates(home, host)
    bound = port or free_port(host)
    env = flower_environment(home, tied=tied)
    command = [sys.executable, "-m", "coordinator.flower.superlink"]
    command += ["--host", host, "--port", str(bound)]
    command += ["--database", str(home / "flower" / "superlink.db")]
    command += ["--ssl-certfile", str(files.certificate), "--ssl-keyfile", str(files.key)]
    command += ["--ssl-ca-certfile", str(files.authority)]
    command += ["--enable-supernode-auth", "--disable-runtime-dependency-installation"]
    child = Child("superlink", command, log=home / "logs" / "superlink.log", env=env)
    child.wait_until(lambda: accepts(host, bound), timeout_s=_START_S, what="SuperLink not up")
    address = SuperLinkAddress(host=host, port=bound, authority=files.authority)
    write_connection(home, address)
    return child, address


def write_connection(home: Path, address: SuperLinkAddress) -> None:
    """Write the connection that the ``flwr`` program uses for this home."""
    entry = {"address": address.text, "root-certificates": str(address.authority.resolve())}
    path = home / "flower" / "config.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        tomli_w.dumps({"superlink": {"default": CONNECTION, CONNECTION: entry}}), "utf-8"
    )


def register_node(hq_home: Path, public_key: Path, *, name: str) -> int:
    """Make the node of this public key known to HQ's SuperLink; return its Flower id.

    Raises:
        Unavailable: the SuperLink cannot be reached or refuses the key.
    """
    command = ["supernode", "register", str(public_key), CONNECTION, "--name", name]
    answer = flwr_json(hq_home, command, what=f"node {name!r} could not be registered")
    return int(str(answer["node-id"]))


def start_supernode(
    home: Path,
    address: SuperLinkAddress,
    *,
    name: str,
    wait: bool = True,
    tied: bool = True,
    timeout_s: float = _START_S,
) -> Child:
    """Start a store's SuperNode; its private key is ``home/keys/node.key``.

    Raises:
        Unavailable: it did not reach the SuperLink or was not let in within ``timeout_s``.
    """
    keys = load_or_make_node_keys(home / "keys")
    command = [sys.executable, "-m", "store_node.federation.supernode"]
    command += ["--superlink", address.text, "--root-certificates", str(address.authority)]
    command += ["--auth-supernode-private-key", str(keys.private)]
    command += ["--node-config", f"home={json.dumps(str(home))}", "--port", str(free_port())]
    # The node's own port speaks to its ClientApps on this machine's loopback only.
    own = issue(load_or_make_authority(home / "flower" / "pki"), home / "flower" / "pki", "node")
    command += ["--ssl-certfile", str(own.certificate), "--ssl-keyfile", str(own.key)]
    command += ["--ssl-ca-certfile", str(own.authority)]
    env = flower_environment(home, tied=tied)
    log = home / "logs" / "supernode.log"
    end = time.monotonic() + timeout_s
    while True:
        child = Child(f"supernode {name}", command, log=log, env=env)
        if not wait:
            return child
        try:
            wait_for_node(child, timeout_s=end - time.monotonic())
            return child
        except Unavailable:
            # A node that was killed counts as online for a while, and is turned away until then.
            if time.monotonic() + _AGAIN_S > end:
                raise
            time.sleep(_AGAIN_S)


def wait_for_node(child: Child, *, timeout_s: float = _START_S) -> None:
    """Wait until the SuperLink has let the node in.

    Raises:
        Unavailable: it has not, after ``timeout_s``.
    """
    child.wait_until(
        lambda: "SuperNode ID:" in child.text(), timeout_s=timeout_s, what="SuperNode not let in"
    )


def submit_run(hq_home: Path, run_id: str) -> int:
    """Hand the run to the SuperLink, which starts our ServerApp; return Flower's id of it.

    Raises:
        Unavailable: the SuperLink cannot be reached or refuses.
    """
    app = hq_home / "flower" / "app" / "storeweave-run"
    app.mkdir(parents=True, exist_ok=True)
    (app / CONFIG_FILE).write_text(bundle_config(), "utf-8")
    command = ["run", str(app), CONNECTION, "--run-config", f"run-id={json.dumps(run_id)}"]
    answer = flwr_json(hq_home, command, what=f"run {run_id!r} could not be started")
    return int(str(answer["run-id"]))


def flwr_json(home: Path, arguments: list[str], *, what: str) -> dict[str, object]:
    """Run ``flwr … --format json`` and return its answer.

    Raises:
        Unavailable: it failed; its log names the reason.
    """
    command = [sys.executable, "-m", "flwr.cli.app", *arguments, "--format", "json"]
    try:
        done = subprocess.run(
            command,
            env=flower_environment(home),
            capture_output=True,
            text=True,
            timeout=_CLI_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(what, where="flwr", remedy="is the SuperLink running?") from None
    try:
        answer = json.loads(done.stdout[done.stdout.index("{") :])
    except ValueError:
        answer = {}
    if not isinstance(answer, dict) or not answer.get("success"):
        log = home / "logs" / "flwr.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(f"{' '.join(command)}\n{done.stdout}{done.stderr}", "utf-8")
        raise Unavailable(what, where="flwr", remedy=f"is the SuperLink running? See {log}")
    return answer

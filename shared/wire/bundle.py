"""The Flower app that names our installed code and carries none of its own.

Flower ships an app to every node as a zip (FAB) and puts it first on the import path. Ours holds a
``pyproject.toml`` with two references and nothing else, so what runs is what was installed; a
bundle with anything more is refused, at HQ and at each store.
"""

import io
import tomllib
import zipfile

import tomli_w

from shared.errors import NotVerified

SERVER_APP = "coordinator.flower.server_app:app"
CLIENT_APP = "store_node.federation.client_app:app"
CONFIG_FILE = "pyproject.toml"
_MANIFEST = ".info/CONTENT"
_MAX_BYTES = 64 * 1024
_COMPONENTS = {"serverapp": SERVER_APP, "clientapp": CLIENT_APP}


def bundle_config() -> str:
    """Return the ``pyproject.toml`` of the app; the run's id is given when it is started."""
    app = {
        "publisher": "storeweave",
        "components": dict(_COMPONENTS),
        "config": {"run-id": ""},
    }
    project = {
        "name": "storeweave-run",
        "version": "1.0.0",
        "description": "Names the installed StoreWeave apps; carries no code",
        "license": "Apache-2.0",
    }
    return tomli_w.dumps({"project": project, "tool": {"flwr": {"app": app}}})


def check_bundle(content: bytes) -> None:
    """Raise unless ``content`` is a bundle without code that names our installed apps.

    Raises:
        NotVerified: it is no bundle, holds another file, or names other components.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = sorted(archive.namelist())
            if names != sorted((CONFIG_FILE, _MANIFEST)):
                raise _refused("carries files of its own")
            if any(info.file_size > _MAX_BYTES for info in archive.infolist()):
                raise _refused("is too large")
            config = tomllib.loads(archive.read(CONFIG_FILE).decode())
        components = config["tool"]["flwr"]["app"]["components"]
    except (zipfile.BadZipFile, UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError, TypeError):
        raise _refused("cannot be read") from None
    if components != _COMPONENTS:
        raise _refused("names other components")


def _refused(why: str) -> NotVerified:
    return NotVerified(
        f"the Flower app {why}",
        where="Flower app bundle",
        remedy="start runs with `storeweave hq round run`; code comes by installation only",
    )

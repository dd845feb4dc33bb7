"""Only a bundle without code passes."""

import io
import zipfile

import pytest

from shared.errors import NotVerified
from shared.wire.bundle import CONFIG_FILE, bundle_config, check_bundle


def bundle(**files: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return out.getvalue()


def test_our_own_bundle_passes() -> None:
    check_bundle(bundle(**{CONFIG_FILE: bundle_config(), ".info/CONTENT": ""}))


@pytest.mark.parametrize(
    "content",
    [
        b"not a zip",
        bundle(**{CONFIG_FILE: bundle_config()}),
        bundle(**{CONFIG_FILE: bundle_config(), ".info/CONTENT": "", "store_node/__init__.py": ""}),
        bundle(
            **{
                CONFIG_FILE: bundle_config().replace("client_app:app", "evil:app"),
                ".info/CONTENT": "",
            }
        ),
        bundle(**{CONFIG_FILE: "x = ", ".info/CONTENT": ""}),
        bundle(**{CONFIG_FILE: "x = 1", ".info/CONTENT": ""}),
        bundle(**{CONFIG_FILE: "#" * 70_000, ".info/CONTENT": ""}),
    ],
    ids=["no zip", "no manifest", "code", "other app", "no toml", "no app", "too large"],
)
def test_anything_else_is_refused(content: bytes) -> None:
    with pytest.raises(NotVerified):
        check_bundle(content)

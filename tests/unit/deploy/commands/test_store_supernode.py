"""Tests of what a store's node needs before it starts."""

from pathlib import Path

import pytest

from deploy.commands.store_supernode import member_of
from shared.errors import BadConfig


@pytest.mark.parametrize("text", [None, "", "{", "[]", "{}", '{"superlink": "nowhere"}'])
def test_a_store_that_has_not_joined_is_told_how(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "hq.json").write_text(text)
    (tmp_path / "ca.crt").write_text("certificate")
    with pytest.raises(BadConfig, match="joined no federation") as caught:
        member_of(tmp_path)
    assert "store join" in caught.value.remedy


def test_the_superlink_is_the_one_of_the_invitation(tmp_path: Path) -> None:
    (tmp_path / "hq.json").write_text('{"superlink": "[::1]:9092"}')
    with pytest.raises(BadConfig, match="certificate"):
        member_of(tmp_path)
    (tmp_path / "ca.crt").write_text("certificate")
    found = member_of(tmp_path)
    assert found.text == "[::1]:9092"
    assert (found.host, found.port, found.authority) == ("::1", 9092, tmp_path / "ca.crt")

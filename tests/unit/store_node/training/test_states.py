"""Kept states: the same on disk and in memory, made anew when anything they depend on changes."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from shared.base_models import adapter_spec
from shared.config import ModelSettings
from store_node.training.model import Parts, load_parts
from store_node.training.states import KeptStates, keep_states
from store_node.training.texts import Row
from tests.tiny_model import make_tiny_model

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    base = make_tiny_model(tmp_path_factory.mktemp("base"))
    return load_parts(base, adapter_spec(ModelSettings(rank=4, upper_layers=2), base, ""), CPU)


class Trunk:
    """The trunk, counting how often it is asked for."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.asked = 0

    def __call__(self) -> torch.nn.Module:
        self.asked += 1
        return self._parts.trunk


def rows(*lengths: int) -> list[Row]:
    return [
        Row(key=f"r{i}", tokens=tuple(3 + (i + at) % 200 for at in range(n)), target_start=1)
        for i, n in enumerate(lengths)
    ]


def keep(
    some: Sequence[Row], trunk: Trunk, folder: Path | None, identity: str = "tiny"
) -> KeptStates:
    return keep_states(
        some,
        trunk=trunk,
        hidden=32,
        identity=identity,
        folder=folder,
        budget_tokens=64,
        device=CPU,
    )


def test_states_are_the_trunks_and_zero_where_padded(parts: Parts) -> None:
    some = rows(20, 7)
    states = keep(some, Trunk(parts), None).padded(some)
    assert states.shape == (2, 20, 32)
    assert states.dtype == torch.bfloat16
    assert states[1, 7:].abs().sum() == 0
    for index, row in enumerate(some):
        tokens = torch.tensor([row.tokens])
        with torch.inference_mode():
            alone = parts.trunk(input_ids=tokens, use_cache=False).last_hidden_state[0]
        torch.testing.assert_close(states[index, : len(row.tokens)], alone, rtol=0.05, atol=0.05)


def test_disk_and_memory_hold_the_same(parts: Parts, tmp_path: Path) -> None:
    some = rows(30, 4, 17, 25)
    disk = keep(some, Trunk(parts), tmp_path / "states").padded(some)
    assert torch.equal(disk, keep(some, Trunk(parts), None).padded(some))


def test_kept_states_are_read_back_without_the_trunk(parts: Parts, tmp_path: Path) -> None:
    some = rows(12, 9)
    trunk = Trunk(parts)
    first = keep(some, trunk, tmp_path).padded(some)
    second = keep(some, trunk, tmp_path).padded(some)
    assert trunk.asked == 1
    assert torch.equal(first, second)


def test_other_texts_or_another_base_make_them_anew_and_stale_ones_go(
    parts: Parts, tmp_path: Path
) -> None:
    trunk = Trunk(parts)
    (tmp_path / "base.json").write_text("{}", "utf-8")
    seen = set()
    for some, identity in ((rows(12, 9), "a"), (rows(12, 10), "a"), (rows(12, 10), "b")):
        keep(some, trunk, tmp_path, identity)
        (only,) = tmp_path.glob("*.states*")
        seen.add(only.name)
    assert len(seen) == trunk.asked == 3
    assert (tmp_path / "base.json").is_file()


def test_a_part_that_a_crash_left_is_removed_and_not_read(parts: Parts, tmp_path: Path) -> None:
    some = rows(12, 9)
    keep(some, Trunk(parts), tmp_path)
    (path,) = tmp_path.glob("*.states")
    part = path.replace(tmp_path / f"{path.name}.123")
    trunk = Trunk(parts)
    keep(some, trunk, tmp_path)
    assert trunk.asked == 1
    assert not part.exists()
    assert path.is_file()


def test_what_a_reader_writes_does_not_reach_the_disk(parts: Parts, tmp_path: Path) -> None:
    some = rows(12)
    keep(some, Trunk(parts), tmp_path).padded(some).zero_()
    assert keep(some, Trunk(parts), tmp_path).padded(some).abs().sum() > 0

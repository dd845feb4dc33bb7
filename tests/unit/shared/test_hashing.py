"""Digests depend on content alone, and on all of it."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from shared.hashing import (
    canonical_json,
    digest_arrays,
    digest_file,
    digest_folder,
    digest_json,
    remembered_digest,
)

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(-(2.0**52), 2.0**52)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(JSON)
def test_canonical_json_reads_back_and_is_stable(value: object) -> None:
    text = canonical_json(value)
    again = json.loads(text)
    assert canonical_json(again) == text
    assert b"\n" not in text


@given(st.dictionaries(st.text("abc", max_size=3), st.integers(0, 9), max_size=5))
def test_order_of_keys_does_not_matter(value: dict[str, int]) -> None:
    assert digest_json(value) == digest_json(dict(reversed(value.items())))


def test_canonical_json_of_the_standard() -> None:
    value = {"numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 1e-27], "literals": [None, True]}
    assert canonical_json(value) == (
        b'{"literals":[null,true],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27]}'
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**53 + 1])
def test_what_json_cannot_carry_is_refused(value: float) -> None:
    with pytest.raises(rfc8785.CanonicalizationError):
        canonical_json({"x": value})


def test_file_and_folder_digests(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "notes.txt").write_text("not part of the model")
    assert digest_file(tmp_path / "config.json") == hashlib.sha256(b"{}").hexdigest()
    before = digest_folder(tmp_path)
    (tmp_path / "notes.txt").write_text("changed")
    assert digest_folder(tmp_path) == before
    (tmp_path / "model.safetensors").write_bytes(b"Weights")
    assert digest_folder(tmp_path) != before


def test_a_remembered_digest_notices_a_change(tmp_path: Path) -> None:
    folder, memory = tmp_path / "model", tmp_path / "memory.json"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    first = remembered_digest(folder, memory)
    assert first == digest_folder(folder) == remembered_digest(folder, memory)
    (folder / "config.json").write_text('{"a": 1}')
    assert remembered_digest(folder, memory) == digest_folder(folder) != first


@given(
    st.dictionaries(
        st.sampled_from(["a", "b", "c"]),
        st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=6),
        min_size=1,
    )
)
def test_array_digest_sees_values_not_order_or_layout(rows: dict[str, list[float]]) -> None:
    arrays = {name: np.array(row, dtype=np.float32) for name, row in rows.items()}
    digest = digest_arrays(arrays)
    assert digest == digest_arrays(dict(reversed(arrays.items())))
    spread = {name: np.repeat(array, 2)[::2] for name, array in arrays.items()}
    assert digest == digest_arrays(spread)
    name = next(iter(arrays))
    other = arrays[name].copy()
    other[0] = np.nextafter(other[0], np.float32(np.inf)) if np.isfinite(other[0]) else 0.0
    assert digest_arrays({**arrays, name: other}) != digest


def test_array_digest_sees_shape_and_name() -> None:
    flat = np.arange(6, dtype=np.float32)
    digests = {
        digest_arrays({"a": flat}),
        digest_arrays({"b": flat}),
        digest_arrays({"a": flat.reshape(2, 3)}),
        digest_arrays({"a": flat.reshape(3, 2)}),
        digest_arrays({"a": flat.astype(np.float64)}),  # type: ignore[dict-item]
    }
    assert len(digests) == 5

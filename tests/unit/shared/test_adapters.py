"""An update that is not exactly what was planned is refused, whatever is wrong with it."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters import AdapterSpec, AdapterUpdate
from shared.errors import NotFinite, WrongDigest, WrongShape

SPEC = AdapterSpec(
    kind="rxr",
    rank=2,
    scale=1.0,
    upper_layers=1,
    targets=("q_proj", "v_proj"),
    factor_seed=7,
    base_digest="0" * 64,
    shapes={"l.q_proj": (2, 2), "l.v_proj": (2, 2)},
)


def arrays(value: float = 0.5) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    return {name: np.full(shape, value, np.float32) for name, shape in SPEC.shapes.items()}


def test_sizes_are_those_of_the_tensors() -> None:
    assert SPEC.parameters == 8
    assert SPEC.payload_bytes == 32


def test_a_weight_with_two_trained_tensors_is_one_site() -> None:
    shapes = {"l.q_proj.lora_A": (2, 8), "l.q_proj.lora_B": (4, 2), "l.v_proj.lora_B": (4, 2)}
    assert replace(SPEC, kind="lora", shapes=shapes).sites == ("l.q_proj", "l.v_proj")
    assert SPEC.sites == tuple(SPEC.shapes)


def test_a_spec_comes_back_from_json_with_the_same_digest() -> None:
    again = AdapterSpec.from_dict(json.loads(json.dumps(SPEC.as_dict())))
    assert again.digest == SPEC.digest
    assert dict(again.shapes) == dict(SPEC.shapes)


@pytest.mark.parametrize("name", ["rank", "scale", "factor_seed", "base_digest", "kind"])
def test_the_digest_sees_every_part(name: str) -> None:
    other = {"rank": 3, "scale": 2.0, "factor_seed": 8, "base_digest": "1" * 64, "kind": "ffa"}
    assert replace(SPEC, **{name: other[name]}).digest != SPEC.digest


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@given(st.integers(0, 3))
def test_one_bad_number_is_enough(value: float, at: int) -> None:
    bad = arrays()
    bad["l.v_proj"].flat[at] = value
    with pytest.raises(NotFinite, match=r"leeds: tensor 'l\.v_proj'"):
        SPEC.check(bad, sender="leeds")


def test_other_tensors_shapes_and_types_are_refused() -> None:
    missing = {"l.q_proj": arrays()["l.q_proj"]}
    extra = {**arrays(), "l.k_proj": np.zeros((2, 2), np.float32)}
    wide = {**arrays(), "l.q_proj": np.zeros((2, 3), np.float32)}
    flat = {**arrays(), "l.q_proj": np.zeros(4, np.float32)}
    double = {**arrays(), "l.q_proj": np.zeros((2, 2), np.float64)}
    for bad in (missing, extra, wide, flat, double, {}):
        with pytest.raises(WrongShape, match="leeds"):
            SPEC.check(bad, sender="leeds")  # type: ignore[arg-type]


def test_a_sealed_update_holds_until_a_byte_changes() -> None:
    update = AdapterUpdate.seal(store_id="leeds", round_id="r1", spec=SPEC, arrays=arrays())
    update.check(SPEC)
    with pytest.raises(WrongDigest, match="does not match"):
        replace(update, arrays=arrays(0.25)).check(SPEC)
    with pytest.raises(WrongDigest, match="another adapter spec"):
        update.check(replace(SPEC, scale=2.0))

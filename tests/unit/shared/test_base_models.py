"""Where adapters can sit, told from ``config.json`` alone."""

import json
from pathlib import Path

import pytest

from shared.base_models import adapter_sites, adapter_spec, layer_count
from shared.config import ModelSettings
from shared.errors import BadConfig

CONFIG = {
    "num_hidden_layers": 4,
    "hidden_size": 32,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "intermediate_size": 96,
}


def folder(path: Path, **changes: object) -> Path:
    values = {key: value for key, value in {**CONFIG, **changes}.items() if value is not None}
    (path / "config.json").write_text(json.dumps(values), "utf-8")
    return path


def test_sites_are_in_the_upper_layers_with_the_shapes_of_the_weights(tmp_path: Path) -> None:
    names = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "down_proj")
    sites = adapter_sites(folder(tmp_path), names, 2)
    assert [site.name for site in sites[:6]] == [
        "model.layers.2.self_attn.q_proj",
        "model.layers.2.self_attn.k_proj",
        "model.layers.2.self_attn.v_proj",
        "model.layers.2.self_attn.o_proj",
        "model.layers.2.mlp.gate_proj",
        "model.layers.2.mlp.down_proj",
    ]
    assert [(site.d_out, site.d_in) for site in sites[:6]] == [
        (64, 32),
        (32, 32),
        (32, 32),
        (32, 64),
        (96, 32),
        (32, 96),
    ]
    assert len(sites) == 12
    assert layer_count(tmp_path) == 4


def test_heads_are_derived_where_the_configuration_is_silent(tmp_path: Path) -> None:
    base = folder(tmp_path, head_dim=None, num_key_value_heads=None)
    (site,) = adapter_sites(base, ("k_proj",), 1)
    assert (site.d_out, site.d_in) == (32, 32)


@pytest.mark.parametrize(("kind", "shape"), [("rxr", (4, 4)), ("ffa", (64, 4))])
def test_the_spec_names_what_travels(tmp_path: Path, kind: str, shape: tuple[int, int]) -> None:
    model = ModelSettings(adapter=kind, rank=4, upper_layers=1, targets=("q_proj",))
    spec = adapter_spec(model, folder(tmp_path), "digest")
    assert dict(spec.shapes) == {"model.layers.3.self_attn.q_proj": shape}
    assert spec.base_digest == "digest"
    assert spec.parameters == shape[0] * shape[1]


def test_lora_trains_two_tensors_of_each_weight(tmp_path: Path) -> None:
    model = ModelSettings(adapter="lora", rank=4, upper_layers=1, targets=("q_proj",))
    spec = adapter_spec(model, folder(tmp_path), "digest")
    site = "model.layers.3.self_attn.q_proj"
    assert dict(spec.shapes) == {f"{site}.lora_A": (4, 32), f"{site}.lora_B": (64, 4)}
    assert spec.sites == (site,)


@pytest.mark.parametrize("target", ["embed_tokens", "lm_head", "norm"])
def test_what_is_not_a_private_linear_layer_is_refused(tmp_path: Path, target: str) -> None:
    with pytest.raises(BadConfig, match=target):
        adapter_sites(folder(tmp_path), ("q_proj", target), 1)


def test_more_layers_than_there_are_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="the base model has 4"):
        adapter_sites(folder(tmp_path), ("q_proj",), 5)


def test_an_unreadable_or_foreign_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="not a readable"):
        layer_count(tmp_path)
    with pytest.raises(BadConfig, match="lacks 'hidden_size'"):
        layer_count(folder(tmp_path, hidden_size=None))

"""What a base model's ``config.json`` says about where adapters can sit; no weights are read."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.adapters import LORA_A, LORA_B, AdapterSpec
from shared.config import ModelSettings
from shared.errors import BadConfig

_ATTENTION = {"q_proj", "k_proj", "v_proj", "o_proj"}
_MLP = {"gate_proj", "up_proj", "down_proj"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A weight that can carry an adapter: its name in the model and its shape ``(d_out, d_in)``."""

    name: str
    d_out: int
    d_in: int


def layer_count(folder: Path) -> int:
    """Return the number of decoder layers of a causal model's folder."""
    return int(_config(folder)["num_hidden_layers"])


def adapter_sites(folder: Path, targets: tuple[str, ...], upper_layers: int) -> list[Site]:
    """Return the named weights of the top ``upper_layers`` decoder layers, lowest layer first.

    Raises:
        BadConfig: an embedding or unknown weight is named, or the model has fewer layers.
    """
    config = _config(folder)
    layers = int(config["num_hidden_layers"])
    if upper_layers > layers:
        raise BadConfig(
            f"{upper_layers} upper layers asked, the base model has {layers}",
            where="[model] upper_layers",
            remedy=f"choose 1 to {layers}",
        )
    odd = sorted(set(targets) - _ATTENTION - _MLP)
    if odd:
        raise BadConfig(
            f"{odd[0]!r} cannot carry a private adapter",
            where="[model] targets",
            remedy=f"choose from {', '.join(sorted(_ATTENTION | _MLP))}",
        )
    shapes = _shapes(config)
    return [
        Site(
            name=f"model.layers.{i}.{block}.{target}",
            d_out=shapes[target][0],
            d_in=shapes[target][1],
        )
        for i in range(layers - upper_layers, layers)
        for target in targets
        for block in ("self_attn" if target in _ATTENTION else "mlp",)
    ]


def tensor_shapes(kind: str, site: Site, rank: int) -> dict[str, tuple[int, ...]]:
    """Return the trained tensors of one weight by name: what travels."""
    if kind == "rxr":
        return {site.name: (rank, rank)}
    if kind == "lora":
        return {site.name + LORA_A: (rank, site.d_in), site.name + LORA_B: (site.d_out, rank)}
    return {site.name: (site.d_out, rank)}


def adapter_spec(model: ModelSettings, folder: Path, base_digest: str) -> AdapterSpec:
    """Return the spec of ``[model]``, which stores and headquarters derive alike.

    Raises:
        BadConfig: see :func:`adapter_sites`.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for site in adapter_sites(folder, model.targets, model.upper_layers):
        shapes.update(tensor_shapes(model.adapter, site, model.rank))
    return AdapterSpec(
        kind=model.adapter,
        rank=model.rank,
        scale=model.scale,
        upper_layers=model.upper_layers,
        targets=model.targets,
        factor_seed=model.factor_seed,
        base_digest=base_digest,
        shapes=shapes,
    )


def _shapes(config: dict[str, Any]) -> dict[str, tuple[int, int]]:
    hidden = int(config["hidden_size"])
    heads = int(config["num_attention_heads"])
    kv_heads = int(config.get("num_key_value_heads") or heads)
    head = int(config.get("head_dim") or hidden // heads)
    inner = int(config["intermediate_size"])
    return {
        "q_proj": (heads * head, hidden),
        "k_proj": (kv_heads * head, hidden),
        "v_proj": (kv_heads * head, hidden),
        "o_proj": (hidden, heads * head),
        "gate_proj": (inner, hidden),
        "up_proj": (inner, hidden),
        "down_proj": (hidden, inner),
    }


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        raise BadConfig(
            "not a readable model configuration", where=str(path), remedy="give a model folder"
        ) from None
    missing = {
        "num_hidden_layers",
        "hidden_size",
        "num_attention_heads",
        "intermediate_size",
    } - set(config)
    if missing:
        raise BadConfig(
            f"the model configuration lacks {sorted(missing)[0]!r}",
            where=str(path),
            remedy="decoder-only models of the Llama, Qwen and Gemma families are supported",
        )
    return config

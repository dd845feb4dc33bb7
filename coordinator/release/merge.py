"""An adapter added to the base model's weights, or exported as an ordinary PEFT LoRA adapter.

Merging is what serving gets: no cost at every token. ``W' = W + scale * lora_B @ lora_A``, with
the pair of :func:`strategies.factors.lora_pair`, is computed in float32 and rounded once.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file

from coordinator.release.tensors import TensorInfo, read_tensor, tensors_of, write_tensors
from shared.adapters import AdapterSpec, Arrays
from shared.errors import BadInput
from shared.release_files import ALLOWED_SUFFIXES
from strategies.factors import delta, factors, lora_pair

Matrix = NDArray[np.float32]
_WEIGHTS = "model.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """A merged model folder.

    ``rounding`` is the worst, over changed weights, of ``|(W' - W) - D| / |D|`` with ``D`` what
    was to be added (Frobenius norms): near 1 means that rounding swallowed the adapter.
    """

    folder: Path
    changed: int
    rounding: float


def merge(
    base: Path,
    spec: AdapterSpec,
    arrays: Arrays,
    out: Path,
    *,
    dtype: torch.dtype = torch.bfloat16,
) -> Merged:
    """Write the base model with the adapter added into the new folder ``out``.

    One weight at a time is in memory. Floating-point weights become ``dtype``; configuration and
    tokenizer are copied.

    Raises:
        BadInput: ``out`` exists, or the base model lacks a weight that the spec names.
        WrongShape, NotFinite: ``arrays`` are not those of the spec.
    """
    spec.check(arrays, sender="merge")
    tensors = tensors_of(base)
    sites = _weights(spec)
    _check_sites(sites, tensors, base)
    _new_folder(out)
    worst = 0.0

    def values(name: str) -> torch.Tensor:
        nonlocal worst
        weight = read_tensor(tensors[name])
        if name not in sites:
            return weight.to(dtype) if weight.is_floating_point() else weight
        exact = weight.float()
        added = _added(spec, sites[name], arrays, exact)
        merged = (exact + added).to(dtype)
        wanted = float(added.norm())
        if wanted:
            worst = max(worst, float((merged.float() - exact - added).norm()) / wanted)
        return merged

    kinds = {
        name: (info.shape, dtype if info.dtype.is_floating_point else info.dtype)
        for name, info in tensors.items()
    }
    write_tensors(out / _WEIGHTS, kinds, values)
    _copy_texts(base, out, dtype)
    return Merged(folder=out, changed=len(sites), rounding=worst)


def merged_weights(
    base: Path, spec: AdapterSpec, arrays: Arrays, *, dtype: torch.dtype = torch.bfloat16
) -> dict[str, torch.Tensor]:
    """Return just the weights that :func:`merge` would change, by name, without writing a model.

    Raises:
        BadInput: the base model lacks a weight that the spec names.
        WrongShape, NotFinite: ``arrays`` are not those of the spec.
    """
    spec.check(arrays, sender="merge")
    tensors = tensors_of(base)
    sites = _weights(spec)
    _check_sites(sites, tensors, base)
    found = {}
    for weight, name in sites.items():
        exact = read_tensor(tensors[weight]).float()
        found[weight] = (exact + _added(spec, name, arrays, exact)).to(dtype)
    return found


def export_peft(base: Path, spec: AdapterSpec, arrays: Arrays, out: Path) -> Path:
    """Write the adapter as a PEFT LoRA folder and return it.

    Any server that takes PEFT adapters can load it on the same base model.

    Raises:
        BadInput: ``out`` exists, or the base model lacks a weight that the spec names.
        WrongShape, NotFinite: ``arrays`` are not those of the spec.
    """
    spec.check(arrays, sender="export")
    tensors = tensors_of(base)
    _check_sites(_weights(spec), tensors, base)
    _new_folder(out)
    pairs: dict[str, Matrix] = {}
    for name in spec.sites:
        b, a = _pair(spec, name, arrays, read_tensor(tensors[f"{name}.weight"]).float())
        pairs[f"base_model.model.{name}.lora_B.weight"] = np.ascontiguousarray(b)
        pairs[f"base_model.model.{name}.lora_A.weight"] = np.ascontiguousarray(a)
    save_file(pairs, out / "adapter_model.safetensors", metadata={"format": "pt"})
    layers = sorted({int(name.split(".")[2]) for name in spec.sites})
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": str(base),
        "r": spec.rank,
        # PEFT scales by lora_alpha / r.
        "lora_alpha": spec.scale * spec.rank,
        "target_modules": list(spec.targets),
        "layers_to_transform": layers,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
    }
    (out / "adapter_config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    return out


def _added(spec: AdapterSpec, name: str, arrays: Arrays, weight: torch.Tensor) -> torch.Tensor:
    b, a = _pair(spec, name, arrays, weight)
    return torch.from_numpy(delta(b, a, spec.scale))


def _pair(
    spec: AdapterSpec, name: str, arrays: Arrays, weight: torch.Tensor
) -> tuple[Matrix, Matrix]:
    """Return ``(lora_B, lora_A)`` of one weight, ``(d_out, r)`` and ``(r, d_in)``."""
    d_out, d_in = weight.shape
    fixed = factors(spec.kind, spec.rank, d_out, d_in, spec.factor_seed, weight.numpy(), name)
    return lora_pair(spec.kind, name, arrays, fixed)


def _weights(spec: AdapterSpec) -> dict[str, str]:
    """Return the names of the changed weights in the model's files, and of their sites."""
    return {f"{name}.weight": name for name in spec.sites}


def _check_sites(sites: Mapping[str, str], tensors: Mapping[str, TensorInfo], base: Path) -> None:
    missing = sorted(set(sites) - set(tensors))
    if missing:
        raise BadInput(
            f"the base model has no weight {missing[0]!r}",
            where=str(base),
            remedy="merge with the base model that the adapter was trained on",
        )


def _new_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True)
    except FileExistsError:
        raise BadInput("the folder exists already", where=str(out), remedy="name another") from None


def _copy_texts(base: Path, out: Path, dtype: torch.dtype) -> None:
    """Copy configuration and tokenizer; the configuration names the dtype of the new weights."""
    for file in sorted(base.iterdir()):
        weights = ".safetensors" in file.name
        if file.suffix in ALLOWED_SUFFIXES and file.is_file() and not weights:
            shutil.copyfile(file, out / file.name)
    path = out / "config.json"
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    config.pop("torch_dtype", None)
    config["dtype"] = str(dtype).removeprefix("torch.")
    path.write_text(json.dumps(config, indent=2, ensure_ascii=False), encoding="utf-8")

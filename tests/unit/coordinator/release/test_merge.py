"""Tests of merging: three ways to apply an adapter give one model."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from coordinator.release.merge import export_peft, merge
from coordinator.release.tensors import read_tensor, tensors_of
from shared.adapters import AdapterSpec
from shared.base_models import adapter_spec
from shared.config import ModelSettings
from shared.errors import BadInput, WrongShape
from shared.hashing import digest_folder
from store_node.training.model import load_parts, write_adapter
from strategies.factors import factors, initial, lora_pair
from tests.tiny_model import Arch, make_tiny_model

IDS = torch.arange(3, 43).reshape(2, 20)


def loaded(folder: Path) -> torch.nn.Module:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model.eval()


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        return model(input_ids=IDS).logits


def trained(kind: str, base: Path) -> tuple[AdapterSpec, dict[str, np.ndarray]]:
    model = ModelSettings(
        adapter=kind, rank=4, targets=("q_proj", "v_proj", "down_proj"), upper_layers=2, scale=0.7
    )
    spec = adapter_spec(model, base, digest_folder(base))
    rng = np.random.default_rng(1)
    arrays = {n: rng.normal(size=s).astype(np.float32) for n, s in spec.shapes.items()}
    return spec, arrays


def by_hand(model: torch.nn.Module, spec: AdapterSpec, arrays: dict[str, np.ndarray]) -> None:
    """Add the adapter's output to that of each layer, beside its unchanged weight."""
    for name in spec.sites:
        layer = model.get_submodule(name)
        d_out, d_in = layer.weight.shape
        fixed = factors(
            spec.kind, spec.rank, d_out, d_in, spec.factor_seed, layer.weight.detach().numpy(), name
        )
        up, down = (torch.from_numpy(m) for m in lora_pair(spec.kind, name, arrays, fixed))
        layer.register_forward_hook(
            lambda _, inputs, out, up=up, down=down: out + spec.scale * inputs[0] @ down.T @ up.T
        )


def of_training(base: Path, spec: AdapterSpec, arrays: dict[str, np.ndarray]) -> torch.Tensor:
    """Return the logits of the model as a store trains it."""
    parts = load_parts(base, spec, torch.device("cpu"), dtype=torch.float32)
    write_adapter(parts.sites, arrays)
    rows, columns = torch.ones_like(IDS).nonzero(as_tuple=True)
    with torch.inference_mode():
        states = parts.trunk(input_ids=IDS, use_cache=False).last_hidden_state
        hidden = parts.upper(states, torch.ones_like(IDS), rows, columns)
        return loaded(base).lm_head(hidden).view(*IDS.shape, -1)


@pytest.mark.parametrize("arch", ["llama", "gemma3", "qwen2", "qwen3"])
@pytest.mark.parametrize("kind", ["rxr", "ffa", "lora"])
def test_trained_merged_and_peft_models_agree(tmp_path: Path, arch: Arch, kind: str) -> None:
    base = make_tiny_model(tmp_path / "base", arch, seed=4)
    spec, arrays = trained(kind, base)
    reference = loaded(base)
    plain = logits(reference)
    by_hand(reference, spec, arrays)
    wanted = logits(reference)
    assert not torch.allclose(plain, wanted, atol=1e-2)
    torch.testing.assert_close(of_training(base, spec, arrays), wanted, atol=1e-4, rtol=1e-4)

    merged = merge(base, spec, arrays, tmp_path / "merged", dtype=torch.float32)
    assert merged.changed == len(spec.sites) == 6
    torch.testing.assert_close(logits(loaded(merged.folder)), wanted, atol=1e-4, rtol=1e-4)

    folder = export_peft(base, spec, arrays, tmp_path / "peft")
    with warnings.catch_warnings():
        # peft asks transformers for a name of yesterday; a warning of missing keys stays an error.
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        adapted = PeftModel.from_pretrained(loaded(base), folder)
    torch.testing.assert_close(logits(adapted), wanted, atol=1e-4, rtol=1e-4)


def test_serving_weights_are_bfloat16_rounded_once(tmp_path: Path) -> None:
    base = make_tiny_model(tmp_path / "base", seed=4)
    spec, arrays = trained("rxr", base)
    exact = merge(base, spec, arrays, tmp_path / "exact", dtype=torch.float32)
    merged = merge(base, spec, arrays, tmp_path / "merged")
    assert exact.rounding < 1e-5 < merged.rounding < 0.1
    fine, rounded = tensors_of(exact.folder), tensors_of(merged.folder)
    assert fine.keys() == rounded.keys() == tensors_of(base).keys()
    for name, info in rounded.items():
        assert torch.equal(read_tensor(info), read_tensor(fine[name]).to(torch.bfloat16))
    assert '"dtype": "bfloat16"' in (merged.folder / "config.json").read_text()
    assert (merged.folder / "tokenizer.json").read_bytes() == (base / "tokenizer.json").read_bytes()
    assert not list(merged.folder.glob("*index.json"))


@pytest.mark.parametrize("kind", ["rxr", "ffa", "lora"])
def test_the_initial_adapter_changes_nothing_and_sharded_models_are_read(
    tmp_path: Path, kind: str
) -> None:
    base = make_tiny_model(tmp_path / "base", seed=4)
    sharded = tmp_path / "sharded"
    loaded(base).save_pretrained(sharded, max_shard_size="60KB")  # type: ignore[operator]
    (sharded / "tokenizer.json").write_bytes((base / "tokenizer.json").read_bytes())
    assert len(list(sharded.glob("*.safetensors"))) > 1
    spec, _ = trained(kind, base)
    merged = merge(sharded, spec, initial(spec), tmp_path / "merged", dtype=torch.float32)
    assert merged.rounding == 0
    assert torch.equal(logits(loaded(merged.folder)), logits(loaded(base)))


def test_wrong_tensors_another_base_and_an_old_folder_are_refused(tmp_path: Path) -> None:
    base = make_tiny_model(tmp_path / "base", seed=4)
    spec, arrays = trained("rxr", base)
    with pytest.raises(WrongShape):
        merge(base, spec, dict(list(arrays.items())[1:]), tmp_path / "a")
    with pytest.raises(BadInput, match="exists"):
        merge(base, spec, arrays, base)
    for file in base.glob("*.safetensors"):
        file.rename(base / "other.bin")
    with pytest.raises(BadInput, match="no"):
        export_peft(base, spec, arrays, tmp_path / "b")

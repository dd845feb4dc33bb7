"""The split model is the whole model, and the loss on candidates is cross entropy."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from shared.adapters import AdapterSpec
from shared.base_models import adapter_spec
from shared.config import ModelSettings
from shared.errors import BadConfig, Refused
from store_node.training.model import load_parts, read_adapter, write_adapter
from strategies.factors import initial
from tests.tiny_model import Arch, make_tiny_model

CPU = torch.device("cpu")
KINDS = ["rxr", "ffa", "lora"]


def settings(kind: str = "rxr", **changes: object) -> ModelSettings:
    return ModelSettings(adapter=kind, rank=4, upper_layers=2, **changes)


@pytest.mark.parametrize("arch", ["llama", "gemma3", "qwen2", "qwen3"])
def test_trunk_and_upper_layers_make_the_whole_model(tmp_path: Path, arch: Arch) -> None:
    base = make_tiny_model(tmp_path, arch)
    spec = adapter_spec(settings(), base, "digest")
    parts = load_parts(base, spec, CPU)
    whole = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    tokens = torch.randint(3, 200, (2, 40))
    mask = torch.ones_like(tokens)
    mask[1, 30:] = 0
    with torch.inference_mode():
        states = parts.trunk(
            input_ids=tokens, attention_mask=mask, use_cache=False
        ).last_hidden_state
        rows, columns = torch.tensor([0, 0, 1]), torch.tensor([5, 39, 29])
        hidden = parts.upper(states, mask, rows, columns)
        expected = whole.model(input_ids=tokens, attention_mask=mask).last_hidden_state
    torch.testing.assert_close(hidden, expected[rows, columns])


@pytest.mark.parametrize("cap", [None, 2.0])
def test_loss_and_gradient_are_those_of_cross_entropy(tmp_path: Path, cap: float | None) -> None:
    base = make_tiny_model(tmp_path, "gemma3")
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "final_logit_softcapping": cap}))
    spec = adapter_spec(settings(), base, "digest")
    upper = load_parts(base, spec, CPU).upper
    full = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16).lm_head.weight.detach()
    hidden = torch.randn(6, 32, dtype=torch.bfloat16, requires_grad=True)
    targets = torch.tensor([3, 4, 5, 77, 100, 200])
    loss = upper.token_loss(hidden, targets)
    (gradient,) = torch.autograd.grad(loss.sum(), hidden)
    exact = hidden.detach().float().requires_grad_()
    logits = exact @ full.float().T
    if cap:
        logits = cap * torch.tanh(logits / cap)
    expected = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
    (wanted,) = torch.autograd.grad(expected.sum(), exact)
    torch.testing.assert_close(loss, expected.detach(), rtol=0.02, atol=0.02)
    torch.testing.assert_close(gradient.float(), wanted, rtol=0.05, atol=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_that_is_written_is_read_back_and_changes_the_output(
    tmp_path: Path, kind: str
) -> None:
    base = make_tiny_model(tmp_path)
    spec = adapter_spec(settings(kind), base, "digest")
    parts = load_parts(base, spec, CPU)
    states = torch.randn(1, 8, 32, dtype=torch.bfloat16)
    where = (torch.ones(1, 8, dtype=torch.long), torch.tensor([0]), torch.tensor([7]))
    with torch.inference_mode():
        before = parts.upper(states, *where)
        rng = np.random.default_rng(0)
        arrays = {
            name: rng.standard_normal(shape).astype(np.float32)
            for name, shape in spec.shapes.items()
        }
        write_adapter(parts.sites, arrays)
        after = parts.upper(states, *where)
    assert not torch.equal(before, after)
    for name, array in read_adapter(parts.sites).items():
        np.testing.assert_array_equal(array, arrays[name])


@pytest.mark.parametrize("kind", KINDS)
def test_a_loaded_model_begins_with_the_initial_adapter(tmp_path: Path, kind: str) -> None:
    spec = adapter_spec(settings(kind), make_tiny_model(tmp_path), "digest")
    found = read_adapter(load_parts(tmp_path, spec, CPU).sites)
    for name, array in initial(spec).items():
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_adapter_is_trained(tmp_path: Path, kind: str) -> None:
    spec = adapter_spec(settings(kind), make_tiny_model(tmp_path), "digest")
    parts = load_parts(tmp_path, spec, CPU)
    free = [p for p in parts.upper.parameters() if p.requires_grad]
    adapter = [p for site in parts.sites.values() for p in site.trained.values()]
    assert {id(p) for p in free} == {id(p) for p in adapter}
    assert sum(p.numel() for p in free) == spec.parameters


def test_embeddings_are_refused(tmp_path: Path) -> None:
    base = make_tiny_model(tmp_path)
    with pytest.raises(BadConfig, match="embed_tokens"):
        adapter_spec(settings(targets=("embed_tokens",)), base, "digest")


@pytest.mark.parametrize("name", ["model.embed_tokens", "lm_head", "model.norm", "model.no.such"])
def test_a_plan_that_names_another_weight_is_refused(tmp_path: Path, name: str) -> None:
    spec = adapter_spec(settings(), make_tiny_model(tmp_path), "digest")
    odd = AdapterSpec.from_dict({**spec.as_dict(), "shapes": {name: (4, 4)}})
    with pytest.raises(Refused, match="not a linear layer"):
        load_parts(tmp_path, odd, CPU)

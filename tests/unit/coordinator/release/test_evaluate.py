"""Tests of scoring: batches give what one row at a time gives."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from coordinator.release.evaluate import evaluate
from coordinator.release.scorer import Scorer
from coordinator.release.tensors import differences, read_tensor, tensors_of
from shared.config import PerformanceSettings
from shared.errors import BadInput
from shared.formats import ConversationRow, IntentRow
from tests.tiny_model import make_tiny_model

CPU = PerformanceSettings(device="cpu", micro_batch_tokens=256)
PAIRS = [
    ("Customer: hi\nAgent:", " hello there\n"),
    ("Customer: 你好，我的订单到哪里了？\nAgent:", " 您好\n"),
    ("Customer: " + "long " * 30 + "\nAgent:", " yes\n"),
    ("A:", " x"),
]


@pytest.fixture(params=["llama", "gemma3"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return make_tiny_model(tmp_path / "model", request.param, seed=5)


def alone(folder: Path, prompt: str, target: str) -> tuple[float, int]:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    first = tokenizer(prompt)["input_ids"]
    then = tokenizer(target, add_special_tokens=False)["input_ids"]
    with torch.inference_mode():
        logs = model(torch.tensor([first + then])).logits[0].log_softmax(-1)
    return -sum(float(logs[len(first) + k - 1, t]) for k, t in enumerate(then)), len(then)


def test_targets_in_batches_are_those_of_single_rows(model: Path) -> None:
    seen: list[tuple[int, int]] = []
    scorer = Scorer(model, CPU, dtype=torch.float32)
    (got,), sizes = scorer.targets(PAIRS, lambda *at: seen.append(at))
    for nll, tokens, pair in zip(got, sizes, PAIRS, strict=True):
        wanted, count = alone(model, *pair)
        assert tokens == count
        assert nll == pytest.approx(wanted, abs=1e-3)
    assert seen[-1] == (4, 4)
    assert len(seen) > 1


def test_labels_in_batches_are_those_of_single_rows(model: Path) -> None:
    labels = [" order status\n", " x", " 退货\n"]
    prompts = [prompt for prompt, _ in PAIRS]
    scorer = Scorer(model, CPU, dtype=torch.float32)
    (got,) = scorer.labels(prompts, labels, lambda *_: None)
    wanted = np.array([[-alone(model, p, label)[0] for label in labels] for p in prompts])
    np.testing.assert_allclose(got, wanted, atol=1e-3)


@pytest.mark.parametrize("lowest", [3, 1, 0, None])
def test_variants_beside_the_model_score_as_they_do_alone(
    model: Path, tmp_path: Path, lowest: int | None
) -> None:
    """``lowest`` is the lowest layer that differs; ``None``: the embedding does."""
    names = [f"model.layers.{lowest}.mlp.up_proj.weight", "model.layers.3.self_attn.v_proj.weight"]
    if lowest is None:
        names.append("model.embed_tokens.weight")
    tensors = tensors_of(model)
    folders = []
    for number in (1, 2):
        folders.append(tmp_path / f"variant-{number}")
        shutil.copytree(model, folders[-1])
        values = {name: read_tensor(info) for name, info in tensors.items()}
        for name in set(names) & set(values):
            values[name] = values[name] + 0.1 * torch.randn(values[name].shape)
        save_file(values, folders[-1] / "model.safetensors", metadata={"format": "pt"})
    variants = [differences(model, folder) for folder in folders]
    assert all(set(variant) == set(names) & set(tensors) for variant in variants)
    labels = [" order status\n", " x", " 退货\n"]
    prompts = [prompt for prompt, _ in PAIRS]
    together = Scorer(model, CPU, variants=variants, dtype=torch.float32)
    nlls, _ = together.targets(PAIRS, lambda *_: None)
    logs = together.labels(prompts, labels, lambda *_: None)
    again, _ = together.targets(PAIRS, lambda *_: None)
    np.testing.assert_array_equal(nlls, again)
    for number, folder in enumerate([model, *folders]):
        alone = Scorer(folder, CPU, dtype=torch.float32)
        np.testing.assert_allclose(nlls[number], alone.targets(PAIRS, lambda *_: None)[0][0], 1e-5)
        own = alone.labels(prompts, labels, lambda *_: None)[0]
        np.testing.assert_allclose(logs[number], own, rtol=1e-5)
    assert not np.allclose(nlls[0], nlls[1])
    assert not np.allclose(logs[1], logs[2])


def test_a_variant_with_an_unknown_weight_is_refused(model: Path) -> None:
    with pytest.raises(BadInput, match="no weight 'model"):
        Scorer(model, CPU, variants=[{"model.other": torch.zeros(1)}])


def test_every_reply_to_a_customer_counts_and_languages_stay_apart(tmp_path: Path) -> None:
    model = make_tiny_model(tmp_path / "model", seed=5)
    turns = [
        {"role": "assistant", "content": "Welcome"},
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "yes?"},
        {"role": "tool", "content": "{}"},
        {"role": "user", "content": "where is it"},
        {"role": "assistant", "content": "on its way"},
    ]
    rows = [
        ConversationRow(conversation_id=f"c{n}", customer_id="k", lang=lang, messages=turns)
        for n, lang in enumerate(("en", "zh"))
    ]
    intents = [
        IntentRow(text="where", lang="en", intent="order_status"),
        IntentRow(text="back", lang="en", intent="returns"),
        IntentRow(text="退货", lang="zh", intent="refund"),
    ]
    (found,) = evaluate(model, rows, intents, performance=CPU)
    assert [score.item for score in found.replies] == ["c0#2", "c0#4", "c1#2", "c1#4"]
    figures = found.as_dict()
    assert list(figures) == ["en", "zh"]
    assert figures["en"]["conversations"] == 1
    assert figures["en"]["replies"] == 2
    assert figures["zh"]["intent_accuracy"] == 1.0
    assert {score.chosen for score in found.intents if score.lang == "en"} <= {
        "order_status",
        "returns",
    }

"""Tests of scoring: batches give what one row at a time gives."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from coordinator.release.evaluate import evaluate
from coordinator.release.scorer import Scorer
from shared.config import PerformanceSettings
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
    got = Scorer(model, CPU, torch.float32).targets(PAIRS, lambda *at: seen.append(at))
    for (nll, tokens), pair in zip(got, PAIRS, strict=True):
        wanted, count = alone(model, *pair)
        assert tokens == count
        assert nll == pytest.approx(wanted, abs=1e-3)
    assert seen[-1] == (4, 4)
    assert len(seen) > 1


def test_labels_in_batches_are_those_of_single_rows(model: Path) -> None:
    labels = [" order status\n", " x", " 退货\n"]
    prompts = [prompt for prompt, _ in PAIRS]
    got = Scorer(model, CPU, torch.float32).labels(prompts, labels, lambda *_: None)
    wanted = np.array([[-alone(model, p, label)[0] for label in labels] for p in prompts])
    np.testing.assert_allclose(got, wanted, atol=1e-3)


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
    found = evaluate(model, rows, intents, performance=CPU)
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

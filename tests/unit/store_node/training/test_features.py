"""Features: batches and kept examples give what one message after all of its prompt gives."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from shared.config import PerformanceSettings
from shared.prompts import TOPIC_EXAMPLES, topic_prompt
from store_node.training import features
from store_node.training.features import DEPTHS, FeatureReader
from tests.tiny_model import make_tiny_model

MESSAGES = ["Where is it?", "退货", "أين طلبي؟ " * 3, "x " * 40]


@pytest.fixture(params=["llama", "gemma3"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return make_tiny_model(tmp_path / "model", request.param, seed=4)


def alone(folder: Path, text: str) -> np.ndarray:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    ids = tokenizer(TOPIC_EXAMPLES)["input_ids"]
    ids += tokenizer(topic_prompt(text), add_special_tokens=False)["input_ids"]
    depths = sorted({round(depth * model.config.num_hidden_layers) for depth in DEPTHS})
    read: list[torch.Tensor] = []
    for depth in depths:
        model.model.layers[depth - 1].register_forward_hook(lambda *call: read.append(call[-1]))
    with torch.inference_mode():
        model(torch.tensor([ids]))
    return np.concatenate([states[0, -1].float().numpy() for states in read])


def test_features_are_the_state_after_the_whole_prompt(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "MESSAGE_TOKENS", 300)
    seen: list[tuple[int, int]] = []
    reader = FeatureReader(base, PerformanceSettings(device="cpu", micro_batch_tokens=256))
    found = reader.read(MESSAGES, lambda *at: seen.append(at))
    assert found.shape == (4, 64)
    assert seen[-1] == (4, 4)
    assert len(seen) > 1
    for row, text in zip(found, MESSAGES, strict=True):
        wanted = alone(base, text)
        assert np.linalg.norm(row - wanted) < 0.02 * np.linalg.norm(wanted)


def test_a_long_message_keeps_the_question_at_its_end(base: Path) -> None:
    reader = FeatureReader(base, PerformanceSettings(device="cpu"))
    long, other = "a" * 5000, "a" * 5001
    found = reader.read([long, other, "b" * 5000])
    np.testing.assert_allclose(found[0], found[1], atol=0.05)
    assert np.abs(found[0] - found[2]).max() > 0.05
    assert reader.read([]).shape == (0, 64)

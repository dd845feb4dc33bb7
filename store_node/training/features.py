"""Features of messages: the frozen base's state after a prompt that asks for the topic.

The prompt begins with public examples whose keys and values are computed once. Only the lower
layers run, up to the one whose states are read.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache

from shared.config import PerformanceSettings
from shared.prompts import TOPIC_EXAMPLES, topic_prompt
from store_node.training.model import cut_decoder

DEPTHS = (0.78, 0.83, 0.89)
"""Where states are read, in shares of the layers: 14, 15 and 16 of 18. On public bank questions in
two languages these served intents best; the last layers turn to the next token's spelling."""
MESSAGE_TOKENS = 160
Progress = Callable[[int, int], None]


class FeatureReader:
    """Reads features with a base model's folder; drop it to free the memory."""

    def __init__(self, folder: Path, performance: PerformanceSettings) -> None:
        """Load the lower layers, bfloat16 where the device computes in it."""
        wish = performance.device
        cuda = torch.cuda.is_available() and wish != "cpu"
        native = cuda or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
        self._device = torch.device("cuda" if cuda else "cpu")
        self._budget = performance.micro_batch_tokens
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        whole: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.bfloat16 if native else torch.float32, local_files_only=True
        )
        whole.requires_grad_(requires_grad=False).eval().to(self._device)
        depths = sorted({max(1, round(depth * len(whole.model.layers))) for depth in DEPTHS})
        decoder: Any = cut_decoder(whole.model, 0, depths[-1], keep_norm=False)
        self.width = len(depths) * int(whole.config.get_text_config().hidden_size)
        self._read_at: list[torch.Tensor] = []
        for depth in depths:
            decoder.layers[depth - 1].register_forward_hook(
                lambda _, __, states: self._read_at.append(states)
            )
        self._decoder = decoder
        self._examples = self._read_examples()

    @torch.inference_mode()
    def read(
        self, texts: Sequence[str], on_progress: Progress = lambda *_: None
    ) -> NDArray[np.float32]:
        """Return ``(texts, width)`` float32: the states of all depths, one after another."""
        rows = [self._tokens(topic_prompt(text)) for text in texts]
        out = np.zeros((len(rows), self.width), dtype=np.float32)
        order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
        part: list[int] = []
        done = 0
        for place, index in enumerate(order):
            part.append(index)
            after = order[place + 1] if place + 1 < len(order) else None
            if after is None or len(rows[after]) * (len(part) + 1) > self._budget:
                out[part] = self._batch([rows[i] for i in part])
                done += len(part)
                on_progress(done, len(rows))
                part = []
        return out

    @torch.inference_mode()
    def _read_examples(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        ids = torch.tensor([self._tokenizer(TOPIC_EXAMPLES)["input_ids"]], device=self._device)
        cache = DynamicCache()
        self._decoder(input_ids=ids, past_key_values=cache, use_cache=True)
        return [(layer.keys, layer.values) for layer in cache.layers]

    def _tokens(self, text: str) -> list[int]:
        ids = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        # The end of the prompt asks the question, so a long message loses its middle.
        if len(ids) > MESSAGE_TOKENS:
            half = MESSAGE_TOKENS // 2
            ids = [*ids[:half], *ids[-half:]]
        return [int(token) for token in ids]

    def _batch(self, rows: Sequence[list[int]]) -> NDArray[np.float32]:
        many, width = len(rows), max(len(row) for row in rows)
        ids = torch.zeros((many, width), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = torch.tensor(row)
            mask[index, : len(row)] = 1
        cache = DynamicCache()
        for layer, (keys, values) in enumerate(self._examples):
            wide = (-1, -1, -1)
            cache.update(keys.expand(many, *wide), values.expand(many, *wide), layer)
        before = torch.ones((many, self._examples[0][0].shape[2]), dtype=torch.long)
        self._read_at.clear()
        self._decoder(
            input_ids=ids.to(self._device),
            attention_mask=torch.cat([before, mask], dim=1).to(self._device),
            past_key_values=cache,
            use_cache=True,
        )
        last = mask.sum(dim=1) - 1
        where = torch.arange(many)
        parts = [states[where, last].float().cpu().numpy() for states in self._read_at]
        found: NDArray[np.float32] = np.concatenate(parts, axis=1)
        return found

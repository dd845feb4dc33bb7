"""Log-likelihoods by the hundred: a model in memory that scores given continuations of prompts.

Logits are computed for the scored positions alone; over all positions they would need a hundred
times the memory of the model's states with a vocabulary of 262,144.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache
from transformers.utils import logging as transformers_logging

from shared.config import PerformanceSettings

PROMPT_TOKENS = 1024
TARGET_TOKENS = 256
_HEAD_ROWS = 256
Progress = Callable[[int, int], None]
Ids = list[int]


class Scorer:
    """Scores with the model of a folder; use as long as needed, then drop it to free the memory."""

    def __init__(
        self,
        folder: Path,
        performance: PerformanceSettings,
        dtype: torch.dtype | None = None,
    ) -> None:
        """Load the model; ``dtype`` ``None``: bfloat16 where it is computed natively."""
        wish = performance.device
        cuda = torch.cuda.is_available() and wish != "cpu"
        self._device = torch.device("cuda" if cuda else "cpu")
        native = cuda or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
        self._tokens = performance.micro_batch_tokens
        transformers_logging.disable_progress_bar()
        self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._model: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype or (torch.bfloat16 if native else torch.float32),
            local_files_only=True,
            use_safetensors=True,
            attn_implementation="sdpa",
        )
        self._model.eval().requires_grad_(False).to(self._device)
        config = self._model.config.get_text_config()
        self._cap = getattr(config, "final_logit_softcapping", None)

    @torch.inference_mode()
    def targets(
        self, pairs: Sequence[tuple[str, str]], on_progress: Progress
    ) -> list[tuple[float, int]]:
        """Return ``(negative log-likelihood in nats, tokens)`` of each target after its prompt.

        A prompt over ``PROMPT_TOKENS`` loses its beginning, a target over ``TARGET_TOKENS`` its
        end. ``on_progress(done, total)`` is called after each batch.
        """
        rows = [(self._prompt(prompt), self._plain(text)[:TARGET_TOKENS]) for prompt, text in pairs]
        out: list[tuple[float, int]] = [(0.0, 0)] * len(rows)
        done = 0
        for part in self._packs([len(prompt) + len(target) for prompt, target in rows]):
            for index, value in zip(part, self._batch([rows[i] for i in part]), strict=True):
                out[index] = (value, len(rows[index][1]))
            done += len(part)
            on_progress(done, len(rows))
        return out

    @torch.inference_mode()
    def labels(
        self, prompts: Sequence[str], labels: Sequence[str], on_progress: Progress
    ) -> NDArray[np.float64]:
        """Return the log-likelihood of every label after every prompt, ``(prompts, labels)``.

        Each prompt is read once; all labels continue from its keys and values.
        """
        ids = [self._prompt(prompt) for prompt in prompts]
        texts = [self._plain(label) for label in labels]
        out = np.zeros((len(ids), len(texts)))
        width = max(len(text) for text in texts)
        done = 0
        for part in self._packs([(len(row) + width) * len(texts) // 4 for row in ids]):
            out[part] = self._label_batch([ids[index] for index in part], texts)
            done += len(part)
            on_progress(done, len(ids))
        return out

    def _prompt(self, text: str) -> Ids:
        ids = [int(token) for token in self._tokenizer(text)["input_ids"]]
        if len(ids) > PROMPT_TOKENS:
            first = ids[:1] if ids[0] == self._tokenizer.bos_token_id else []
            ids = [*first, *ids[len(first) - PROMPT_TOKENS :]]
        return ids

    def _plain(self, text: str) -> Ids:
        return [int(t) for t in self._tokenizer(text, add_special_tokens=False)["input_ids"]]

    def _packs(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Yield indices in order of length, longest first, at most so many padded tokens a pack."""
        pack: list[int] = []
        for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
            if pack and (len(pack) + 1) * lengths[pack[0]] > self._tokens:
                yield pack
                pack = []
            pack.append(index)
        if pack:
            yield pack

    def _batch(self, rows: Sequence[tuple[Ids, Ids]]) -> list[float]:
        """Return the negative log-likelihood of each row's target; padded on the right."""
        width = max(len(prompt) + len(target) for prompt, target in rows)
        ids = torch.zeros((len(rows), width), dtype=torch.long)
        mask = torch.zeros_like(ids)
        where: list[tuple[int, int, int]] = []
        for number, (prompt, target) in enumerate(rows):
            size = len(prompt) + len(target)
            ids[number, :size] = torch.tensor([*prompt, *target])
            mask[number, :size] = 1
            where += [(number, len(prompt) + k - 1, token) for k, token in enumerate(target)]
        ids, mask = ids.to(self._device), mask.to(self._device)
        states = self._model.base_model(
            input_ids=ids, attention_mask=mask, use_cache=False
        ).last_hidden_state
        row, column, token = torch.tensor(where, device=self._device).unbind(1)
        logs = self._logs(states[row, column], token)
        sums = torch.zeros(len(rows), device=self._device).index_add_(0, row, logs)
        return [-float(value) for value in sums]

    def _label_batch(self, prompts: Sequence[Ids], labels: Sequence[Ids]) -> NDArray[np.float64]:
        """Return ``(prompts, labels)``; prompts are padded on the left, labels on the right."""
        many, width = len(prompts), max(len(prompt) for prompt in prompts)
        ids = torch.zeros((many, width), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for number, prompt in enumerate(prompts):
            ids[number, width - len(prompt) :] = torch.tensor(prompt)
            mask[number, width - len(prompt) :] = 1
        ids, mask = ids.to(self._device), mask.to(self._device)
        cache = DynamicCache()
        first = self._states(ids, mask, cache)[:, -1]
        heads = torch.tensor([label[0] for label in labels], device=self._device)
        logs = self._normal(first)[:, heads].double()
        size = max(len(label) for label in labels) - 1
        if size:
            logs += self._tails(labels, size, mask, cache)
        return np.asarray(logs.cpu().numpy())

    def _tails(
        self, labels: Sequence[Ids], size: int, mask: torch.Tensor, cache: DynamicCache
    ) -> torch.Tensor:
        """Return what the labels' tokens after the first add, ``(prompts, labels)``."""
        many = mask.shape[0]
        ids = torch.zeros((len(labels), size), dtype=torch.long)
        real, wanted = torch.zeros_like(ids), torch.zeros_like(ids)
        for number, label in enumerate(labels):
            ids[number, : len(label) - 1] = torch.tensor(label[:-1])
            wanted[number, : len(label) - 1] = torch.tensor(label[1:])
            real[number, : len(label) - 1] = 1
        ids, real, wanted = (t.repeat(many, 1).to(self._device) for t in (ids, real, wanted))
        cache.batch_repeat_interleave(len(labels))
        full = torch.cat([mask.repeat_interleave(len(labels), dim=0), real], dim=1)
        states = self._states(ids, full, cache)
        row, column = real.nonzero(as_tuple=True)
        logs = self._logs(states[row, column], wanted[row, column])
        sums = torch.zeros(many * len(labels), device=self._device).index_add_(0, row, logs)
        return sums.view(many, len(labels)).double()

    def _states(self, ids: torch.Tensor, mask: torch.Tensor, cache: DynamicCache) -> torch.Tensor:
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        states: torch.Tensor = self._model.base_model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
        return states

    def _logs(self, states: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Return the log-probability of ``tokens`` (n) after ``states`` (n, hidden), float32."""
        parts = [
            self._normal(states[at : at + _HEAD_ROWS])
            .gather(1, tokens[at : at + _HEAD_ROWS, None])
            .squeeze(1)
            for at in range(0, len(states), _HEAD_ROWS)
        ]
        return torch.cat(parts)

    def _normal(self, states: torch.Tensor) -> torch.Tensor:
        """Return log-probabilities over the vocabulary, (n, vocabulary), float32."""
        # Contiguous, since torch multiplies strided bfloat16 a hundred times slower.
        logits = self._model.get_output_embeddings()(states.contiguous()).float()
        if self._cap:
            logits = torch.tanh(logits / self._cap) * self._cap
        logs: torch.Tensor = logits.log_softmax(dim=-1)
        return logs

"""Log-likelihoods by the hundred: models in memory that score given continuations of prompts.

Logits are computed for the scored positions alone; over all positions they would need a hundred
times the memory of the model's states with a vocabulary of 262,144.

Models that differ in their upper layers alone, as a base and its releases do, are scored side by
side: the layers below the lowest difference run once for all of them.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache
from transformers.utils import logging as transformers_logging

from coordinator.release.tensors import Tensors
from shared.config import PerformanceSettings
from shared.errors import BadInput

PROMPT_TOKENS = 1024
TARGET_TOKENS = 256
_HEAD_ROWS = 256
_LAYER = re.compile(r"model\.layers\.(\d+)\.")
Progress = Callable[[int, int], None]
Ids = list[int]


class Scorer:
    """Scores with a model of a folder and with variants of it; drop it to free the memory."""

    def __init__(
        self,
        folder: Path,
        performance: PerformanceSettings,
        *,
        variants: Sequence[Tensors] = (),
        dtype: torch.dtype | None = None,
    ) -> None:
        """Load the model.

        Args:
            folder: a causal language model with its tokenizer.
            performance: ``[performance]``: device, tokens in a batch.
            variants: for each further model, the weights that differ from the folder's.
            dtype: ``None``: bfloat16 where it is computed natively.

        Raises:
            BadInput: a variant names a weight that the model does not have.
        """
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
        self._models = self._weights(folder, variants)
        self._cut = _lowest_layer(name for name in self._models[0])

    @torch.inference_mode()
    def targets(
        self, pairs: Sequence[tuple[str, str]], on_progress: Progress
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Score each target after its prompt.

        A prompt over ``PROMPT_TOKENS`` loses its beginning, a target over ``TARGET_TOKENS`` its
        end. ``on_progress(done, total)`` is called after each batch.

        Returns:
            Negative log-likelihoods in nats, ``(models, pairs)``, the folder's model first, and the
            targets' sizes in tokens, ``(pairs,)``.
        """
        rows = [(self._prompt(prompt), self._plain(text)[:TARGET_TOKENS]) for prompt, text in pairs]
        out = np.zeros((len(self._models), len(rows)))
        done = 0
        for part in self._packs([len(prompt) + len(target) for prompt, target in rows]):
            out[:, part] = self._batch([rows[i] for i in part])
            done += len(part)
            on_progress(done, len(rows))
        return out, np.array([len(target) for _, target in rows], dtype=np.int64)

    @torch.inference_mode()
    def labels(
        self, prompts: Sequence[str], labels: Sequence[str], on_progress: Progress
    ) -> NDArray[np.float64]:
        """Return the log-likelihood of every label, ``(models, prompts, labels)``.

        Each prompt is read once; all labels continue from its keys and values.
        """
        ids = [self._prompt(prompt) for prompt in prompts]
        texts = [self._plain(label) for label in labels]
        out = np.zeros((len(self._models), len(ids), len(texts)))
        width = max(len(text) for text in texts)
        done = 0
        for part in self._packs([(len(row) + width) * len(texts) // 4 for row in ids]):
            out[:, part] = self._label_batch([ids[index] for index in part], texts)
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

    def _batch(self, rows: Sequence[tuple[Ids, Ids]]) -> NDArray[np.float64]:
        """Return negative log-likelihoods, ``(models, rows)``; rows are padded on the right."""
        width = max(len(prompt) + len(target) for prompt, target in rows)
        ids = torch.zeros((len(rows), width), dtype=torch.long)
        mask = torch.zeros_like(ids)
        where: list[tuple[int, int, int]] = []
        for number, (prompt, target) in enumerate(rows):
            size = len(prompt) + len(target)
            ids[number, :size] = torch.tensor([*prompt, *target])
            mask[number, :size] = 1
            where += [(number, len(prompt) + k - 1, token) for k, token in enumerate(target)]
        row, column, token = torch.tensor(where, device=self._device).unbind(1)
        inputs = {"input_ids": ids.to(self._device), "attention_mask": mask.to(self._device)}
        out = []
        for states in self._states({**inputs, "use_cache": False}):
            logs = self._logs(states[row, column], token)
            sums = torch.zeros(len(rows), device=self._device).index_add_(0, row, logs)
            out.append(-sums.double().cpu().numpy())
        return np.stack(out)

    def _label_batch(self, prompts: Sequence[Ids], labels: Sequence[Ids]) -> NDArray[np.float64]:
        """Return ``(models, prompts, labels)``; prompts are padded left, labels right."""
        many, width = len(prompts), max(len(prompt) for prompt in prompts)
        ids = torch.zeros((many, width), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for number, prompt in enumerate(prompts):
            ids[number, width - len(prompt) :] = torch.tensor(prompt)
            mask[number, width - len(prompt) :] = 1
        mask = mask.to(self._device)
        caches = [DynamicCache() for _ in self._models]
        heads = torch.tensor([label[0] for label in labels], device=self._device)
        logs = [
            self._normal(states[:, -1])[:, heads].double()
            for states in self._states(_continued(ids.to(self._device), mask), caches)
        ]
        size = max(len(label) for label in labels) - 1
        if size:
            tails = self._tails(labels, size, mask, caches)
            logs = [one + other for one, other in zip(logs, tails, strict=True)]
        return np.stack([one.cpu().numpy() for one in logs])

    def _tails(
        self, labels: Sequence[Ids], size: int, mask: torch.Tensor, caches: Sequence[DynamicCache]
    ) -> list[torch.Tensor]:
        """Return what the labels' tokens after the first add, ``(prompts, labels)`` a model."""
        many = mask.shape[0]
        ids = torch.zeros((len(labels), size), dtype=torch.long)
        real, wanted = torch.zeros_like(ids), torch.zeros_like(ids)
        for number, label in enumerate(labels):
            ids[number, : len(label) - 1] = torch.tensor(label[:-1])
            wanted[number, : len(label) - 1] = torch.tensor(label[1:])
            real[number, : len(label) - 1] = 1
        ids, real, wanted = (t.repeat(many, 1).to(self._device) for t in (ids, real, wanted))
        for cache in caches:
            cache.batch_repeat_interleave(len(labels))
        full = torch.cat([mask.repeat_interleave(len(labels), dim=0), real], dim=1)
        row, column = real.nonzero(as_tuple=True)
        out = []
        for states in self._states(_continued(ids, full), caches):
            logs = self._logs(states[row, column], wanted[row, column])
            sums = torch.zeros(many * len(labels), device=self._device).index_add_(0, row, logs)
            out.append(sums.view(many, len(labels)).double())
        return out

    def _states(
        self, inputs: Mapping[str, Any], caches: Sequence[DynamicCache] | None = None
    ) -> Iterator[torch.Tensor]:
        """Yield each model's last states, ``(rows, tokens, hidden)``, while its weights are set.

        The first model runs whole. The others go on from what reached the lowest layer in which any
        of them differs, with the very arguments (masks, positions) that the upper layers were given
        then, and each with its own keys and values of those layers.
        """
        decoder = self._model.base_model
        calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        upper = list(decoder.layers[self._cut :]) if self._cut is not None else []
        hooks = [
            layer.register_forward_pre_hook(lambda _, *given: calls.append(given), with_kwargs=True)
            for layer in upper
        ]
        for number in range(len(self._models)):
            self._use(number)
            own = {"past_key_values": caches[number]} if caches is not None else {}
            if number and upper:
                states = calls[0][0][0]
                for layer, (_, given) in zip(upper, calls, strict=True):
                    states = layer(states, **{**given, **own})
                yield decoder.norm(states)
                continue
            last: torch.Tensor = decoder(**inputs, **own).last_hidden_state
            for hook in hooks:
                hook.remove()
            yield last

    def _weights(self, folder: Path, variants: Sequence[Tensors]) -> list[dict[str, torch.Tensor]]:
        """Return, for each model, the values of every weight in which any of them differs."""
        mine = dict(self._model.named_parameters(remove_duplicate=False))
        names = {name for variant in variants for name in variant}
        if missing := sorted(names - set(mine)):
            raise BadInput(f"the model has no weight {missing[0]!r}", where=str(folder))
        first = {name: mine[name].data for name in names}
        return [first] + [
            {name: variant.get(name, first[name]).to(first[name]) for name in names}
            for variant in variants
        ]

    def _use(self, number: int) -> None:
        for name, values in self._models[number].items():
            self._model.get_parameter(name).data = values

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


def _lowest_layer(names: Iterable[str]) -> int | None:
    """Return the lowest decoder layer that is named; ``None`` where other weights are, or none."""
    found = [_LAYER.match(name) for name in names]
    return min((int(m[1]) for m in found if m), default=None) if all(found) else None


def _continued(ids: torch.Tensor, mask: torch.Tensor) -> dict[str, Any]:
    """Return a decoder's inputs for tokens that go on from a cache of prompts padded left."""
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -ids.shape[1] :]
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "position_ids": positions,
        "use_cache": True,
    }

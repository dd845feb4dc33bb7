"""Rows that are decoded together: one key-value cache, padded left, that rows join and leave."""

from collections.abc import Sequence

import torch
from torch.nn import functional
from transformers import DynamicCache

from store_node.serving.model import LoadedModel

_SCORED_POSITIONS = 128
"""Positions whose logits are held at once: 134 MB in float32 for a vocabulary of 262,144."""


class Batch:
    """A batch of growing sequences.

    Every layer keeps all its keys, sliding windows included (the mask cuts them), so rows of
    different ages can be padded to one length and joined. ``mask`` is (rows, length), 0 where
    padded.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        """Begin without rows."""
        self._loaded = loaded
        self._cache = DynamicCache()
        self._mask = torch.zeros((0, 0), dtype=torch.long, device=loaded.device)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self._mask.shape[0])

    @torch.inference_mode()
    def join(self, prompts: Sequence[Sequence[int]]) -> torch.Tensor:
        """Read new prompts as further rows; return their next logits, (new rows, vocabulary)."""
        device = self._loaded.device
        width = max(len(prompt) for prompt in prompts)
        ids = torch.zeros((len(prompts), width), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            ids[row, width - len(prompt) :] = torch.tensor(prompt)
            mask[row, width - len(prompt) :] = 1
        ids, mask = ids.to(device), mask.to(device)
        cache = DynamicCache()
        logits = _forward(self._loaded, ids, mask, cache)
        self._append(cache, mask)
        return logits

    @torch.inference_mode()
    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        """Feed one token a row; return the next logits, (rows, vocabulary)."""
        ids = torch.tensor(tokens, dtype=torch.long, device=self._loaded.device).unsqueeze(1)
        self._mask = functional.pad(self._mask, (0, 1), value=1)
        return _forward(self._loaded, ids, self._mask, self._cache)

    @torch.inference_mode()
    def keep(self, rows: Sequence[int]) -> None:
        """Keep these rows in this order and drop columns that are padding in all of them."""
        if not rows:
            self._cache = DynamicCache()
            self._mask = self._mask[:0, :0]
            return
        index = torch.tensor(rows, dtype=torch.long, device=self._loaded.device)
        mask = self._mask.index_select(0, index)
        first = int(mask.argmax(dim=1).min())
        self._mask = mask[:, first:]
        for layer in self._cache.layers:
            layer.keys = layer.keys.index_select(0, index)[:, :, first:]
            layer.values = layer.values.index_select(0, index)[:, :, first:]

    def _append(self, cache: DynamicCache, mask: torch.Tensor) -> None:
        if not self.rows:
            self._cache, self._mask = cache, mask
            return
        width = max(self._mask.shape[1], mask.shape[1])
        old, new = width - self._mask.shape[1], width - mask.shape[1]
        for ours, theirs in zip(self._cache.layers, cache.layers, strict=True):
            ours.keys = torch.cat([_left(ours.keys, old), _left(theirs.keys, new)])
            ours.values = torch.cat([_left(ours.values, old), _left(theirs.values, new)])
        self._mask = torch.cat(
            [functional.pad(self._mask, (old, 0)), functional.pad(mask, (new, 0))]
        )


def choose(logits: torch.Tensor, temperatures: Sequence[float]) -> list[int]:
    """Return the next token of each row: the likeliest at temperature 0, else sampled."""
    greedy: list[int] = logits.argmax(dim=-1).tolist()
    for row, temperature in enumerate(temperatures):
        if temperature > 0:
            weights = torch.softmax(logits[row].float() / temperature, dim=-1)
            greedy[row] = int(torch.multinomial(weights, 1))
    return greedy


@torch.inference_mode()
def score(
    loaded: LoadedModel, prompt: Sequence[int], candidates: Sequence[Sequence[int]]
) -> list[float]:
    """Return the log-likelihood of each candidate (one token or more), summed over its tokens.

    The prompt is read once; candidates are its continuations, padded on the right.
    """
    device = loaded.device
    ids = torch.tensor([prompt], dtype=torch.long, device=device)
    cache = DynamicCache()
    first = _forward(loaded, ids, torch.ones_like(ids), cache).float().log_softmax(dim=-1)[0]
    sums = [float(first[candidate[0]]) for candidate in candidates]
    # Longest first, so that the first of a part says how wide the part is.
    order = sorted(range(len(candidates)), key=lambda index: -len(candidates[index]))
    longer = [index for index in order if len(candidates[index]) > 1]
    while longer:
        width = len(candidates[longer[0]]) - 1
        rows = max(1, _SCORED_POSITIONS // width)
        part, longer = longer[:rows], longer[rows:]
        for index, tail in zip(
            part, _tails(loaded, cache, len(prompt), part, candidates), strict=True
        ):
            sums[index] += tail
    return sums


def _tails(
    loaded: LoadedModel,
    cache: DynamicCache,
    prompt_length: int,
    part: Sequence[int],
    candidates: Sequence[Sequence[int]],
) -> list[float]:
    """Return the log-likelihood of all but the first token of each candidate of ``part``."""
    width = max(len(candidates[index]) for index in part) - 1
    ids = torch.zeros((len(part), width), dtype=torch.long)
    wanted = torch.zeros_like(ids)
    real = torch.zeros_like(ids)
    for row, index in enumerate(part):
        size = len(candidates[index]) - 1
        ids[row, :size] = torch.tensor(candidates[index][:-1])
        wanted[row, :size] = torch.tensor(candidates[index][1:])
        real[row, :size] = 1
    ids, wanted, real = (t.to(loaded.device) for t in (ids, wanted, real))
    copy = DynamicCache()
    for number, layer in enumerate(cache.layers):
        copy.update(
            layer.keys.expand(len(part), -1, -1, -1),
            layer.values.expand(len(part), -1, -1, -1),
            number,
        )
    mask = functional.pad(real, (prompt_length, 0), value=1)
    positions = prompt_length + torch.arange(width, device=loaded.device).expand(len(part), -1)
    states = loaded.states(
        input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=copy
    )
    every = loaded.logits(states).float().log_softmax(dim=-1)
    logs = every.gather(2, wanted.unsqueeze(2)).squeeze(2)
    return [float(value) for value in (logs * real).sum(dim=1)]


def _forward(
    loaded: LoadedModel, ids: torch.Tensor, mask: torch.Tensor, cache: DynamicCache
) -> torch.Tensor:
    """Run the model over ``ids``, the last columns of ``mask``; return the last logits."""
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -ids.shape[1] :]
    states = loaded.states(
        input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache
    )
    return loaded.logits(states[:, -1])


def _left(values: torch.Tensor, by: int) -> torch.Tensor:
    """Pad (rows, heads, length, size) with ``by`` zeros before the length."""
    return functional.pad(values, (0, 0, by, 0)) if by else values

"""States of the frozen trunk, computed once for each text and kept in memory or on disk.

They are made from customers' (desensitized) texts, so they stay in the store's home and are
rebuilt, not trusted, when the base model, the cut or the texts change.
"""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from shared.hashing import sha256_hex
from store_node.training.texts import Row


class KeptStates:
    """bfloat16 states of every row, back to back in one array of ``(tokens, hidden)``."""

    def __init__(self, flat: torch.Tensor, starts: dict[str, int]) -> None:
        self._flat = flat
        self._starts = starts

    def padded(self, rows: Sequence[Row]) -> torch.Tensor:
        """Return ``(rows, longest, hidden)`` bfloat16, zeros where padded."""
        width = max(len(row.tokens) for row in rows)
        out = torch.zeros((len(rows), width, self._flat.shape[1]), dtype=self._flat.dtype)
        for index, row in enumerate(rows):
            start = self._starts[row.key]
            out[index, : len(row.tokens)] = self._flat[start : start + len(row.tokens)]
        return out


def keep_states(
    rows: Sequence[Row],
    *,
    trunk: Callable[[], nn.Module],
    hidden: int,
    identity: str,
    folder: Path | None,
    budget_tokens: int,
    device: torch.device,
) -> KeptStates:
    """Return the trunk's states for ``rows``, from ``folder`` where they are already there.

    Args:
        rows: what to compute.
        trunk: gives the frozen lower layers; called only where something must be computed.
        hidden: width of a state.
        identity: digest of base model and cut.
        folder: where to keep them; ``None``: in memory alone.
        budget_tokens: padded tokens in one forward pass.
        device: where the trunk computes.
    """
    total = sum(len(row.tokens) for row in rows)
    starts: dict[str, int] = {}
    at = 0
    for row in rows:
        starts[row.key] = at
        at += len(row.tokens)
    wanted = sha256_hex(
        json.dumps([identity, hidden, [[row.key, row.tokens] for row in rows]]).encode()
    )
    shape = (total, hidden)
    if folder is None:
        flat = np.zeros(shape, dtype=np.uint16)
        _fill(flat, rows, starts, trunk(), budget_tokens, device)
        return KeptStates(torch.from_numpy(flat).view(torch.bfloat16), starts)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{wanted[:32]}.states"
    if not path.is_file():
        for stale in folder.glob("*.states*"):
            stale.unlink()
        part = folder / f"{path.name}.{os.getpid()}"
        mapped = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint16, shape=shape)
        _fill(mapped, rows, starts, trunk(), budget_tokens, device)
        mapped.flush()
        del mapped
        part.replace(path)
    kept = np.lib.format.open_memmap(path, mode="c")
    return KeptStates(torch.from_numpy(kept).view(torch.bfloat16), starts)


def _fill(
    flat: np.ndarray[tuple[int, int], np.dtype[np.uint16]],
    rows: Sequence[Row],
    starts: dict[str, int],
    trunk: nn.Module,
    budget_tokens: int,
    device: torch.device,
) -> None:
    group: list[Row] = []
    order = sorted(rows, key=lambda row: len(row.tokens))

    def flush() -> None:
        width = len(group[-1].tokens)
        tokens = torch.zeros((len(group), width), dtype=torch.long)
        mask = torch.zeros_like(tokens)
        for index, row in enumerate(group):
            tokens[index, : len(row.tokens)] = torch.tensor(row.tokens)
            mask[index, : len(row.tokens)] = 1
        with torch.inference_mode():
            out = trunk(
                input_ids=tokens.to(device), attention_mask=mask.to(device), use_cache=False
            ).last_hidden_state
        raw = out.to("cpu", torch.bfloat16).contiguous().view(torch.uint16).numpy()
        for index, row in enumerate(group):
            start = starts[row.key]
            flat[start : start + len(row.tokens)] = raw[index, : len(row.tokens)]

    for row in order:
        if group and len(row.tokens) * (len(group) + 1) > budget_tokens:
            flush()
            group = []
        group.append(row)
    if group:
        flush()

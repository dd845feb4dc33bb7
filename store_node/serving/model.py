"""A causal language model in memory with its tokenizer, ready to decode."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from shared.errors import BadConfig

PROMPT_TOKENS = 1024
"""A longer prompt loses its oldest tokens (after the first one, where that is the model's bos)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A model on its device; ``end_ids`` end a completion."""

    model: Any
    tokenizer: Any
    device: torch.device
    end_ids: frozenset[int]

    def states(self, **inputs: Any) -> torch.Tensor:  # noqa: ANN401 - as the model takes them
        """Run the decoder; return its last states, (rows, length, hidden)."""
        states: torch.Tensor = self.model.base_model(use_cache=True, **inputs).last_hidden_state
        return states

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """Return logits over the vocabulary of ``states``, (..., hidden).

        The states are made contiguous: torch multiplies strided bfloat16 a hundred times slower.
        """
        logits: torch.Tensor = self.model.get_output_embeddings()(states.contiguous())
        cap = getattr(self.model.config.get_text_config(), "final_logit_softcapping", None)
        return torch.tanh(logits / cap) * cap if cap else logits

    def encode_prompt(self, prompt: str) -> list[int]:
        """Return at most ``PROMPT_TOKENS`` tokens, cut on the left; never empty."""
        ids = [int(token) for token in self.tokenizer(prompt)["input_ids"]]
        bos = self.tokenizer.bos_token_id
        if not ids:
            return [int(bos if bos is not None else min(self.end_ids))]
        if len(ids) <= PROMPT_TOKENS:
            return ids
        if ids[0] == bos:
            return [ids[0], *ids[1 - PROMPT_TOKENS :]]
        return ids[-PROMPT_TOKENS:]

    def encode_continuation(self, text: str) -> list[int]:
        """Return the tokens of text that follows a prompt; no special token is added."""
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return [int(token) for token in ids]

    def decode(self, ids: list[int]) -> str:
        """Return the text of tokens, without special ones; a cut character shows as U+FFFD."""
        return str(
            self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        )


def choose_device(wish: str) -> torch.device:
    """Return the device for ``auto``, ``cpu`` or ``cuda``.

    Raises:
        BadConfig: ``cuda`` is wanted and there is none.
    """
    if wish == "cuda" and not torch.cuda.is_available():
        raise BadConfig(
            "[performance] device is cuda, but torch sees none", remedy="set it to auto or cpu"
        )
    if wish == "auto":
        wish = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(wish)


def choose_dtype(device: torch.device) -> torch.dtype:
    """Return bfloat16 where the device computes it natively, else float32."""
    native = (
        torch.cuda.is_bf16_supported()
        if device.type == "cuda"
        else bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    )
    return torch.bfloat16 if native else torch.float32


def load_model(
    folder: Path, *, device: str = "auto", dtype: torch.dtype | None = None
) -> LoadedModel:
    """Load a model folder: safetensors only, nothing fetched, no code of the folder run.

    Args:
        folder: ``config.json``, ``*.safetensors``, tokenizer files.
        device: ``auto``, ``cpu`` or ``cuda``.
        dtype: ``None``: see :func:`choose_dtype`.

    Raises:
        BadConfig: the folder does not hold a causal language model that transformers can load.
    """
    where = choose_device(device)
    transformers_logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype or choose_dtype(where),
            local_files_only=True,
            use_safetensors=True,
            attn_implementation="sdpa",
        )
    except (OSError, ValueError, KeyError) as error:
        raise BadConfig(
            f"the model cannot be loaded ({type(error).__name__})",
            where=str(folder),
            remedy="it needs config.json, *.safetensors and a tokenizer of a causal language model",
        ) from error
    model.eval().requires_grad_(False).to(where)
    ends = model.generation_config.eos_token_id
    ids = set(ends if isinstance(ends, list) else [ends]) | {tokenizer.eos_token_id}
    return LoadedModel(
        model=model,
        tokenizer=tokenizer,
        device=where,
        end_ids=frozenset(int(token) for token in ids if token is not None),
    )

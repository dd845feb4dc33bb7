"""Builds tiny random language models for tests: real architectures, small, any Unicode."""

from pathlib import Path
from typing import Any, Literal

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

Arch = Literal["llama", "gemma3", "qwen2", "qwen3"]
_PAD, _EOS, _BOS = "<pad>", "<eos>", "<bos>"


def make_tiny_model(
    folder: Path, arch: Arch = "llama", seed: int = 0, dtype: torch.dtype = torch.float32
) -> Path:
    """Write a random model with its tokenizer into ``folder`` and return the folder.

    Hidden size 32, 4 layers, 4 heads, 2 key-value heads, 1024 positions. The tokenizer has one
    token per UTF-8 byte (and pad, eos, bos), so it can encode any text, and a character can be cut
    in the middle of its bytes. ``gemma3`` puts ``<bos>`` before every text and mixes sliding and
    full attention (window 32), as the real one does; the others add nothing. ``qwen2`` has biases
    in its attention, ``qwen3`` norms of queries and keys.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer(bos=arch == "gemma3")
    common = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 1024,
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "tie_word_embeddings": True,
        # Larger than usual, so that random logits differ enough for a greedy choice to be stable.
        "initializer_range": 0.2,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _model(arch, common)
    model.to(dtype).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _model(arch: Arch, common: dict[str, Any]) -> PreTrainedModel:
    if arch == "llama":
        return LlamaForCausalLM(LlamaConfig(**common))
    if arch == "qwen2":
        return Qwen2ForCausalLM(Qwen2Config(**common))
    if arch == "qwen3":
        return Qwen3ForCausalLM(Qwen3Config(**common))
    return Gemma3ForCausalLM(
        Gemma3TextConfig(
            **common,
            sliding_window=32,
            query_pre_attn_scalar=8,
            layer_types=["sliding_attention"] * 3 + ["full_attention"],
        )
    )


def _tokenizer(*, bos: bool) -> PreTrainedTokenizerFast:
    """Return a byte-level tokenizer without merges."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {token: index for index, token in enumerate([_PAD, _EOS, _BOS, *alphabet])}
    inner = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    inner.decoder = decoders.ByteLevel()
    if bos:
        inner.post_processor = processors.TemplateProcessing(
            single=f"{_BOS} $A",
            pair=f"{_BOS} $A {_BOS} $B",
            special_tokens=[(_BOS, vocab[_BOS])],
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token=_PAD,
        eos_token=_EOS,
        bos_token=_BOS,
        model_max_length=1024,
        clean_up_tokenization_spaces=False,
    )

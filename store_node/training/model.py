"""The base model cut in two: a frozen trunk, states kept, and upper layers with adapters."""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import AutoModelForCausalLM

from shared.adapters import LORA_A, LORA_B, AdapterSpec, Arrays
from shared.errors import Refused
from strategies.factors import factors


class AdaptedLinear(nn.Module):
    """A frozen linear layer with an adapter beside it: ``W x + scale * B (core (A x))``.

    The trained part is made of plain ``nn.Linear`` layers in float32, so that Opacus' own
    per-sample gradients apply; the base weight keeps its dtype. ``rxr``: ``core`` is ``(r, r)``;
    ``ffa``: ``core`` is ``(d_out, r)`` and there is no ``B``; ``lora``: so too, and ``A`` is
    trained as ``down``.
    """

    def __init__(self, base: nn.Linear, spec: AdapterSpec, name: str) -> None:
        super().__init__()
        weight = base.weight.detach().float().cpu().numpy() if spec.kind == "rxr" else None
        b, a = factors(
            spec.kind,
            spec.rank,
            base.out_features,
            base.in_features,
            spec.factor_seed,
            weight,
            name,
        )
        self.base = base
        self.name = name
        self.kind = spec.kind
        self.scale = spec.scale
        # Plain attributes, not buffers: they are public constants, never state.
        self.fixed_a = torch.from_numpy(a).to(base.weight)
        self.fixed_b = torch.from_numpy(b).to(base.weight)
        width = spec.rank if spec.kind == "rxr" else base.out_features
        self.core = nn.Linear(spec.rank, width, bias=False, device=base.weight.device)
        nn.init.zeros_(self.core.weight)
        self.down: nn.Linear | None = None
        if spec.kind == "lora":
            self.down = nn.Linear(
                base.in_features, spec.rank, bias=False, device=base.weight.device
            )
            with torch.no_grad():
                self.down.weight.copy_(torch.from_numpy(a))

    @property
    def trained(self) -> dict[str, torch.Tensor]:
        """The trained tensors, by their names in the spec."""
        if self.down is None:
            return {self.name: self.core.weight}
        return {self.name + LORA_A: self.down.weight, self.name + LORA_B: self.core.weight}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the layer's output, ``(rows, tokens, d_out)``, in the base's dtype."""
        if self.down is None:
            inner = _followed(nn.functional.linear(x, self.fixed_a).float())
        else:
            inner = self.down(_followed(x.float()))
        middle = self.core(inner).to(x.dtype)
        if self.kind == "rxr":
            middle = nn.functional.linear(middle, self.fixed_b)
        out: torch.Tensor = self.base(x) + self.scale * middle
        return out


def _followed(x: torch.Tensor) -> torch.Tensor:
    """Return ``x`` with a gradient, which Opacus' hooks need even where it is a kept state."""
    if x.requires_grad or not torch.is_grad_enabled():
        return x
    return x.detach().requires_grad_()


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The output layer: ``weight`` is ``(vocabulary, hidden)``; ``cap`` bends logits, or is 0."""

    weight: torch.Tensor
    cap: float


class SplitModel(nn.Module):
    """Upper decoder layers with adapters, fed with the trunk's states instead of tokens."""

    def __init__(self, decoder: nn.Module, head: Head) -> None:
        super().__init__()
        self.decoder = decoder
        self._head = head

    def forward(
        self, states: torch.Tensor, mask: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor
    ) -> torch.Tensor:
        """Return the hidden states ``(targets, hidden)`` that predict the target tokens."""
        out = self.decoder(inputs_embeds=states, attention_mask=mask, use_cache=False)
        hidden: torch.Tensor = out.last_hidden_state[rows, columns]
        return hidden

    def token_loss(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the negative log-likelihood, in nats, of each target."""
        loss: torch.Tensor = _TokenLoss.apply(hidden, targets, self._head)  # type: ignore[no-untyped-call]
        return loss


class _TokenLoss(torch.autograd.Function):
    """Cross entropy whose gradient is made in the forward pass, so that no logits are kept.

    Saves memory of ``(targets, vocabulary)`` and a third of the time of plain cross entropy. The
    probabilities are summed in float32 and kept in the base's dtype; the loss is as exact as they.
    """

    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, targets: torch.Tensor, head: Head) -> torch.Tensor:  # noqa: ANN401
        losses, gradients = [], []
        for start in range(0, len(targets), _CHUNK):
            h, goal = hidden[start : start + _CHUNK], targets[start : start + _CHUNK, None]
            logits = nn.functional.linear(h, head.weight)
            slope = None
            if head.cap:
                bent = torch.tanh(logits / head.cap)
                logits, slope = bent * head.cap, 1 - bent.square()
            chance = logits.softmax(dim=-1)
            own = chance.gather(1, goal).float()
            losses.append(-own.clamp_min(_LEAST).log().squeeze(1))
            pull = head.weight[goal.squeeze(1)]
            if slope is not None:
                chance *= slope
                pull = pull * slope.gather(1, goal)
            gradients.append(chance @ head.weight - pull)
        ctx.save_for_backward(torch.cat(gradients))
        return torch.cat(losses)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None]:  # noqa: ANN401
        (gradient,) = ctx.saved_tensors
        return gradient * grads[0][:, None].to(gradient.dtype), None, None


_CHUNK = 256
"""Target positions whose logits are in memory at once."""
_LEAST = 1e-30


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """A base model in two parts that share its weights."""

    trunk: nn.Module
    upper: SplitModel
    sites: dict[str, AdaptedLinear]
    hidden: int
    """Width of a state."""


def load_parts(
    folder: Path,
    spec: AdapterSpec,
    device: torch.device,
    *,
    dtype: torch.dtype = torch.bfloat16,
) -> Parts:
    """Load the base and cut it below the upper layers; its adapter changes nothing yet.

    Args:
        folder: a model folder (safetensors).
        spec: where adapters sit.
        device: where to compute.
        dtype: of the base's weights.

    Raises:
        Refused: the spec's weights are not linear layers of this model.
    """
    whole: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True)
    whole.requires_grad_(requires_grad=False)
    whole.eval().to(device)
    full = whole.get_output_embeddings().weight.detach()
    layers = whole.model.layers
    cut = len(layers) - spec.upper_layers
    trunk = cut_decoder(whole.model, 0, cut, keep_norm=False)
    upper = cut_decoder(whole.model, cut, len(layers))
    sites: dict[str, AdaptedLinear] = {}
    for name in spec.sites:
        path = name.removeprefix("model.")
        sites[name] = AdaptedLinear(_linear(whole.model, path), spec, name)
        whole.model.set_submodule(path, sites[name])
    cap = getattr(whole.config.get_text_config(), "final_logit_softcapping", None)
    head = Head(weight=full, cap=float(cap or 0))
    return Parts(trunk=trunk, upper=SplitModel(upper, head), sites=sites, hidden=full.shape[1])


def read_adapter(sites: dict[str, AdaptedLinear]) -> dict[str, np.ndarray[Any, Any]]:
    """Return the trained tensors, float32, by name."""
    return {
        name: tensor.detach().float().cpu().numpy().copy()
        for site in sites.values()
        for name, tensor in site.trained.items()
    }


def write_adapter(sites: dict[str, AdaptedLinear], arrays: Arrays) -> None:
    """Set the trained tensors."""
    with torch.no_grad():
        for site in sites.values():
            for name, tensor in site.trained.items():
                tensor.copy_(torch.from_numpy(np.ascontiguousarray(arrays[name])))


def _linear(decoder: nn.Module, path: str) -> nn.Linear:
    try:
        found = decoder.get_submodule(path)
    except AttributeError:
        found = None
    if not isinstance(found, nn.Linear):
        raise Refused(f"{path} is not a linear layer of the base model", where="adapter spec")
    return found


def cut_decoder(decoder: Any, start: int, stop: int, *, keep_norm: bool = True) -> nn.Module:  # noqa: ANN401
    """Return a decoder of layers ``start`` to ``stop`` that shares its modules with ``decoder``."""
    part = copy.copy(decoder)
    part._modules = dict(decoder._modules)
    part.config = copy.deepcopy(decoder.config)
    part.config.num_hidden_layers = stop - start
    types = getattr(decoder.config, "layer_types", None)
    if types is not None:
        part.config.layer_types = list(types[start:stop])
    part.layers = nn.ModuleList(decoder.layers[start:stop])
    if not keep_norm:
        part.norm = nn.Identity()
    module: nn.Module = part
    return module

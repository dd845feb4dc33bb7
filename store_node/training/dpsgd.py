"""Differentially private SGD whose unit is the customer (Abadi et al. 2016, per-user clipping).

One step: sample customers, average each customer's at most k text gradients, clip that to C, sum,
add N(0, (sigma C)^2) from the operating system's source, divide by a public constant, take an SGD
step. Opacus makes the per-text gradients (hooks) and clips; rows are folded into customers between
the two, and its noise is replaced by ours.
"""

import secrets
from collections.abc import Sequence

import numpy as np
import torch
from opacus.grad_sample import GradSampleModule
from opacus.optimizers import DPOptimizer
from torch import nn

from shared.errors import Refused
from shared.rounds import Mechanism
from store_node.training.model import SplitModel
from store_node.training.noise import secure_normal_like, uniform_bits
from store_node.training.states import KeptStates
from store_node.training.texts import CustomerTexts, MicroBatch, Row, pack


class CustomerOptimizer(DPOptimizer):  # type: ignore[misc]  # opacus has no types
    """Opacus' clipping over customers, with noise from the operating system.

    ``grad_sample`` must hold one row a customer when ``clip_and_accumulate`` runs.
    """

    def add_noise(self) -> None:
        """Set each gradient to the clipped sum plus N(0, (sigma C)^2)."""
        std = self.noise_multiplier * self.max_grad_norm
        for p in self.params:
            p.grad = p.summed_grad + secure_normal_like(p.summed_grad, std)

    def noisy_step(self) -> None:
        """Add noise, divide by the public constant, move, clear; also where nobody was sampled."""
        for p in self.params:
            if p.summed_grad is None:
                p.summed_grad = torch.zeros_like(p)
        self.add_noise()
        for p in self.params:
            p.grad /= self.expected_batch_size
        self.original_optimizer.step()
        self.zero_grad(set_to_none=True)


def sample_customers(count: int, mechanism: Mechanism) -> list[int]:
    """Return the indices of this step's customers: all, or Poisson with the cap (truncated).

    Truncation keeps a uniformly random subset of ``batch_cap``.
    """
    if mechanism.sampling == "whole":
        return list(range(count))
    chosen = np.flatnonzero(uniform_bits(count) < mechanism.sample_rate).tolist()
    if len(chosen) > mechanism.batch_cap:
        chosen = secrets.SystemRandom().sample(chosen, mechanism.batch_cap)
    return chosen


def choose_texts(customer: CustomerTexts, k: int) -> tuple[Row, ...]:
    """Return at most ``k`` of a customer's rows, uniformly."""
    if len(customer.rows) <= k:
        return customer.rows
    return tuple(secrets.SystemRandom().sample(customer.rows, k))


def fold_rows(parameters: Sequence[nn.Parameter], batch: MicroBatch) -> None:
    """Replace ``(rows, …)`` gradients by ``(customers, …)``: sums of each customer's weighted rows.

    A customer whose gradient is not finite in one tensor adds nothing to any; clipping alone would
    spread the NaN.
    """
    finite = torch.ones(batch.customers, dtype=torch.bool, device=parameters[0].device)
    for parameter in parameters:
        folded = _folded(parameter, batch)
        finite &= torch.isfinite(folded).flatten(1).all(dim=1)
        parameter.grad_sample = folded  # type: ignore[attr-defined]
    for parameter in parameters:
        parameter.grad_sample[~finite] = 0.0  # type: ignore[attr-defined]


def _folded(parameter: nn.Parameter, batch: MicroBatch) -> torch.Tensor:
    rows: torch.Tensor | None = getattr(parameter, "grad_sample", None)
    if rows is None or rows.shape[0] != len(batch.rows):
        raise Refused(
            "a trained tensor has no gradient for each text, so it cannot be clipped",
            where="training",
            remedy="adapters may sit on linear layers only",
        )
    folded = torch.zeros((batch.customers, *rows.shape[1:]), dtype=rows.dtype, device=rows.device)
    return folded.index_add_(0, batch.owner.to(rows.device), rows)


class CustomerDpSgd:
    """Runs the steps of one round on one store's customers.

    Args:
        model: the upper layers with adapters; only ``requires_grad`` tensors are trained.
        states: the trunk's states of all rows.
        mechanism: what was planned and reserved.
        micro_batch_tokens: padded tokens in one backward pass; changes speed and memory only.
    """

    def __init__(
        self, model: SplitModel, states: KeptStates, mechanism: Mechanism, micro_batch_tokens: int
    ) -> None:
        trained = [p for p in model.parameters() if p.requires_grad]
        if not trained:
            raise Refused(
                "nothing would be trained: the adapter has no free tensor", where="training"
            )
        self._states = states
        self._mechanism = mechanism
        self._budget = micro_batch_tokens
        self._module = GradSampleModule(model, loss_reduction="sum", strict=False)
        self._plain = model
        self._optimizer = CustomerOptimizer(
            torch.optim.SGD(trained, lr=mechanism.learning_rate, momentum=MOMENTUM),
            noise_multiplier=mechanism.sigma,
            max_grad_norm=mechanism.clip,
            expected_batch_size=mechanism.batch_constant,
            loss_reduction="mean",
        )

    def step(self, customers: Sequence[CustomerTexts]) -> None:
        """Take one private step over ``customers``."""
        chosen = [
            choose_texts(customers[index], self._mechanism.texts_per_customer)
            for index in sample_customers(len(customers), self._mechanism)
        ]
        for batch in pack(chosen, self._budget):
            self._accumulate(batch)
        self._optimizer.noisy_step()

    def close(self) -> None:
        """Take Opacus' hooks off the model."""
        self._module.to_standard_module()

    def _accumulate(self, batch: MicroBatch) -> None:
        device = next(self._plain.parameters()).device
        hidden = self._module(
            self._states.padded(batch.rows).to(device),
            batch.mask.to(device),
            batch.where_row.to(device),
            batch.where_column.to(device),
        )
        losses = self._plain.token_loss(hidden, batch.targets.to(device))
        torch.autograd.backward((losses * batch.weight.to(device)).sum())
        fold_rows(self._optimizer.params, batch)
        self._optimizer.clip_and_accumulate()
        for parameter in self._optimizer.params:
            parameter.grad_sample = None
            parameter.grad = None


MOMENTUM = 0.9
"""Of the store's own SGD; post-processing of noised gradients, so it costs no privacy."""

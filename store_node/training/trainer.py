"""One round of private training on this store's own samples, from an adapter to its change."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer

from shared.adapters import AdapterSpec, Arrays
from shared.config import PerformanceSettings
from shared.errors import NotFinite, Refused
from shared.hashing import digest_json, remembered_digest
from shared.rounds import Mechanism
from store_node.ports import Samples, TrainResult
from store_node.training.dpsgd import CustomerDpSgd
from store_node.training.model import Parts, load_parts, read_adapter, write_adapter
from store_node.training.states import KeptStates, keep_states
from store_node.training.texts import CustomerTexts, by_customer


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerParts:
    """What a trainer works with.

    ``min_customers`` is the policy's floor; ``digests`` remembers the base model's digest.
    """

    base: Path
    samples: Samples
    states: Path
    digests: Path
    min_customers: int
    performance: PerformanceSettings


class DpTrainer:
    """Implements :class:`store_node.ports.LocalTrainer` with transformers and Opacus."""

    def __init__(self, parts: TrainerParts) -> None:
        self._parts = parts

    def train(
        self,
        *,
        spec: AdapterSpec,
        adapter: Arrays,
        mechanism: Mechanism,
        on_step: Callable[[int, int], None],
    ) -> TrainResult:
        """Train ``mechanism.steps`` steps from ``adapter`` and return its change, already noised.

        Raises:
            Refused: another base model was planned, or too few customers have samples.
            NotFinite: the result holds NaN or infinity; it is not returned.
        """
        begun = time.monotonic()
        if mechanism.sigma <= 0:
            raise Refused("a round without noise is not private", where="plan")
        customers, begin = self._customers(spec, mechanism.texts_per_customer)
        device = _device(self._parts.performance)
        with _threads(self._parts.performance.threads):
            parts = load_parts(self._parts.base, spec, device)
            states = self._states(customers, spec, parts, device, begin)
            write_adapter(parts.sites, adapter)
            sgd = CustomerDpSgd(
                parts.upper, states, mechanism, self._parts.performance.micro_batch_tokens
            )
            try:
                for step in range(mechanism.steps):
                    sgd.step(customers)
                    on_step(step + 1, mechanism.steps)
            finally:
                sgd.close()
        after = read_adapter(parts.sites)
        update = {name: after[name] - np.asarray(adapter[name]) for name in after}
        for name, array in update.items():
            if not np.isfinite(array).all():
                raise NotFinite(f"tensor {name!r} diverged in training", where="training")
        return TrainResult(update=update, steps=mechanism.steps, seconds=time.monotonic() - begun)

    def _customers(self, spec: AdapterSpec, k: int) -> tuple[list[CustomerTexts], list[int]]:
        found = remembered_digest(self._parts.base, self._parts.digests)
        if found != spec.base_digest:
            raise Refused(
                "the plan was made for another base model",
                where=str(self._parts.base),
                remedy=f"install the base model with digest {spec.base_digest[:12]}…",
                planned=spec.base_digest,
                found=found,
            )
        tokenizer = self._tokenizer()
        # What the tokenizer puts before every text, so that training sees what serving will.
        begin = [i for i in tokenizer.encode("") if i != tokenizer.eos_token_id]
        customers = by_customer(self._parts.samples.all(), _tokenize(tokenizer), begin, k)
        if len(customers) < self._parts.min_customers:
            raise Refused(
                "fewer customers with samples than the privacy policy asks for",
                where="[privacy] min_customers",
                remedy="import or desensitize more conversations, or wait for more customers",
            )
        return customers, begin

    def _tokenizer(self) -> Any:  # noqa: ANN401 - transformers has no types
        return AutoTokenizer.from_pretrained(self._parts.base, local_files_only=True)

    def _states(
        self,
        customers: list[CustomerTexts],
        spec: AdapterSpec,
        parts: Parts,
        device: torch.device,
        begin: list[int],
    ) -> KeptStates:
        rows = [row for customer in customers for row in customer.rows]
        performance = self._parts.performance
        return keep_states(
            rows,
            trunk=lambda: parts.trunk,
            hidden=parts.hidden,
            identity=digest_json([spec.base_digest, spec.upper_layers, begin]),
            folder=self._parts.states if performance.keep_states == "disk" else None,
            budget_tokens=2 * performance.micro_batch_tokens,
            device=device,
        )


def _tokenize(tokenizer: Any) -> Callable[[str], list[int]]:  # noqa: ANN401
    return lambda text: list(tokenizer.encode(text, add_special_tokens=False))


def _device(performance: PerformanceSettings) -> torch.device:
    if performance.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(performance.device)


class _threads:
    """Limit torch's CPU threads for a block; 0 leaves them."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __enter__(self) -> None:
        self._before = torch.get_num_threads()
        if self._count:
            torch.set_num_threads(self._count)

    def __exit__(self, *_: object) -> None:
        torch.set_num_threads(self._before)

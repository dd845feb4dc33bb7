"""Private training: what clipping each customer and adding noise cost beside plain steps."""

from typing import Any

import torch
from transformers import AutoTokenizer

from deploy.base_model import BaseModel
from deploy.bench.measure import at_least, medians, result
from deploy.world.generate import DEFAULT_STORES
from deploy.world.shop import build
from deploy.world.texts import store as store_texts
from shared.base_models import adapter_spec
from shared.config import Settings
from shared.hashing import digest_json
from shared.ids import CustomerKey
from shared.prompts import reply_prompt, reply_target
from shared.rounds import Mechanism
from store_node.training.dpsgd import MOMENTUM, CustomerDpSgd
from store_node.training.model import Parts, load_parts
from store_node.training.states import KeptStates, keep_states
from store_node.training.texts import CustomerTexts, Row, encode, pack

_SEED = 7
_RATE = 1e-6
"""So small that no step goes astray, however few customers there are."""


def measure_training(
    settings: Settings, base: BaseModel, *, customers: int, steps: int
) -> dict[str, Any]:
    """Take ``steps`` whole-batch steps over ``customers`` synthetic customers, both ways in turn.

    The model, the adapters, k and the micro-batches are those of the settings.
    """
    at_least(1, customers=customers, steps=steps)
    performance = settings.performance
    if performance.threads:
        torch.set_num_threads(performance.threads)
    device = torch.device(
        ("cuda" if torch.cuda.is_available() else "cpu")
        if performance.device == "auto"
        else performance.device
    )
    spec = adapter_spec(settings.model, base.folder, base.digest)
    people = _customers(base, customers, settings.privacy.texts_per_customer)
    rows = [row for person in people for row in person.rows]

    # Two copies of the model: hooks stay on the private one.
    private, plain = (load_parts(base.folder, spec, device) for _ in range(2))
    budget = performance.micro_batch_tokens
    states = keep_states(
        rows,
        trunk=lambda: private.trunk,
        hidden=private.hidden,
        identity=digest_json(["bench", base.digest, spec.upper_layers]),
        folder=None,
        budget_tokens=2 * budget,
        device=device,
    )
    sgd = CustomerDpSgd(private.upper, states, _mechanism(settings, customers, steps), budget)
    usual = _PlainSgd(plain, states, budget)

    def ours() -> None:
        sgd.step(people)
        _wait(device)

    def theirs() -> None:
        usual.step(people)
        _wait(device)

    acts = {"ours": ours, "plain": theirs}
    try:
        medians(acts, 1)  # the first step of each is slower
        took = medians(acts, steps)
    finally:
        sgd.close()
    return result(
        "training",
        size={
            "base": base.name,
            "base_digest": base.digest,
            "adapter": settings.model.adapter,
            "rank": settings.model.rank,
            "upper_layers": spec.upper_layers,
            "trained_values": spec.parameters,
            "customers": customers,
            "texts": len(rows),
            "tokens": sum(len(row.tokens) for row in rows),
            "steps": steps,
            "micro_batch_tokens": budget,
            "figure_is": "a DP-SGD step on kept states: gradient of each text, clipping of each "
            "customer, secure noise; median",
            "yardstick_is": "the same batches, one gradient of the whole, no clipping, no noise",
        },
        figure={
            "seconds_per_step": took["ours"],
            "seconds_per_step_per_customer": took["ours"] / customers,
        },
        yardstick={
            "seconds_per_step": took["plain"],
            "seconds_per_step_per_customer": took["plain"] / customers,
        },
        versions={
            "torch": torch.__version__,
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
            "threads": str(torch.get_num_threads()),
        },
    )


class _PlainSgd:
    """The steps of :class:`CustomerDpSgd` on the same batches, without anything private."""

    def __init__(self, parts: Parts, states: KeptStates, budget: int) -> None:
        self._model = parts.upper
        self._states = states
        self._budget = budget
        trained = [p for p in self._model.parameters() if p.requires_grad]
        self._device = trained[0].device
        self._optimizer = torch.optim.SGD(trained, lr=_RATE, momentum=MOMENTUM)

    def step(self, customers: list[CustomerTexts]) -> None:
        for batch in pack([customer.rows for customer in customers], self._budget):
            hidden = self._model(
                self._states.padded(batch.rows).to(self._device),
                batch.mask.to(self._device),
                batch.where_row.to(self._device),
                batch.where_column.to(self._device),
            )
            losses = self._model.token_loss(hidden, batch.targets.to(self._device))
            torch.autograd.backward((losses * batch.weight.to(self._device)).sum())
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _mechanism(settings: Settings, customers: int, steps: int) -> Mechanism:
    return Mechanism(
        sampling="whole",
        sample_rate=1.0,
        batch_cap=0,
        steps=steps,
        sigma=settings.privacy.min_sigma,
        clip=settings.privacy.clip,
        texts_per_customer=settings.privacy.texts_per_customer,
        batch_constant=customers,
        learning_rate=_RATE,
    )


def _customers(base: BaseModel, count: int, k: int) -> list[CustomerTexts]:
    """Return synthetic customers of all the world's stores with ``k`` replies each."""
    tokenizer: Any = AutoTokenizer.from_pretrained(base.folder, local_files_only=True)
    begin = [i for i in tokenizer.encode("") if i != tokenizer.eos_token_id]

    def tokenize(text: str) -> list[int]:
        return list(tokenizer.encode(text, add_special_tokens=False))

    prompts: list[tuple[str, str]] = []
    each = -(-count * k // len(DEFAULT_STORES))
    for name in DEFAULT_STORES:
        shop = build(store_texts(name), seed=_SEED, customers=each)
        found = [_last_reply([(m.role, m.content) for m in c.messages]) for c in shop.conversations]
        prompts += [pair for pair in found if pair is not None][:each]
    rows: list[Row] = [
        encode(f"bench-{index}", prompt, target, tokenize, begin)
        for index, (prompt, target) in enumerate(prompts)
    ]
    return [
        CustomerTexts(customer=CustomerKey(f"bench-{i}"), rows=tuple(rows[i * k : (i + 1) * k]))
        for i in range(count)
    ]


def _last_reply(turns: list[tuple[str, str]]) -> tuple[str, str] | None:
    """Return prompt and target of a conversation's last reply, ``None`` where there is none."""
    places = [at for at, (role, _) in enumerate(turns) if role == "assistant" and at > 0]
    if not places:
        return None
    return reply_prompt(turns[: places[-1]]), reply_target(turns[places[-1]][1])

"""The guarantee of a step: bounded per customer, noised once, Poisson where it says so.

The models are in float32, where the production ones are in bfloat16, so that steps can be compared.
"""

from itertools import accumulate, combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from transformers import AutoModelForCausalLM

from coordinator.rounds.files import RunFiles
from shared.adapters import AdapterSpec, Arrays
from shared.base_models import adapter_spec
from shared.config import ModelSettings
from shared.errors import Refused
from shared.ids import CustomerKey
from shared.rounds import Mechanism
from store_node.training.dpsgd import MOMENTUM, CustomerDpSgd, fold_rows, sample_customers
from store_node.training.model import Parts, load_parts, read_adapter, write_adapter
from store_node.training.states import KeptStates
from store_node.training.texts import CustomerTexts, Row, pack
from strategies.factors import factors, initial
from tests.tiny_model import Arch, make_tiny_model

CPU = torch.device("cpu")
KINDS = ["rxr", "ffa", "lora"]
CLIP = 0.05
"""Below the norm of any gradient here, so that clipping is at work."""
EVERYTHING = 1e6
"""A bound that clips nothing."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("base"))


def spec_of(base: Path, kind: str) -> AdapterSpec:
    return adapter_spec(ModelSettings(adapter=kind, rank=4, upper_layers=2), base, "digest")


@pytest.fixture(scope="module", params=KINDS)
def spec(base: Path, request: pytest.FixtureRequest) -> AdapterSpec:
    return spec_of(base, request.param)


@pytest.fixture(scope="module")
def wide(base: Path) -> AdapterSpec:
    """Return an adapter of 53,248 values, enough to measure a variance to half a percent."""
    targets = ("q_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    model = ModelSettings(adapter="lora", rank=32, upper_layers=4, targets=targets)
    return adapter_spec(model, base, "digest")


def load(base: Path, spec: AdapterSpec) -> Parts:
    return load_parts(base, spec, CPU, dtype=torch.float32)


@pytest.fixture
def parts(base: Path, spec: AdapterSpec) -> Parts:
    return load(base, spec)


def midway(spec: AdapterSpec) -> dict[str, np.ndarray]:
    """Return an adapter in the midst of training: every tensor of it has a gradient."""
    rng = np.random.default_rng(1)
    return {
        name: start + 0.1 * rng.standard_normal(start.shape).astype(np.float32)
        for name, start in initial(spec).items()
    }


def flat(arrays: Arrays) -> np.ndarray:
    return np.concatenate([arrays[name].ravel() for name in sorted(arrays)])


def people(count: int, texts: int = 2, seed: int = 0) -> list[CustomerTexts]:
    rng = np.random.default_rng(seed)
    return [
        CustomerTexts(
            customer=CustomerKey(f"{person:04x}"),
            rows=tuple(
                Row(
                    key=f"{person}-{text}",
                    # Few enough targets that all are predicted: steps can be compared.
                    tokens=tuple(rng.integers(3, 200, size=int(rng.integers(6, 12))).tolist()),
                    target_start=4,
                )
                for text in range(texts)
            ),
        )
        for person in range(count)
    ]


def mechanism(**changes: object) -> Mechanism:
    values: dict[str, object] = {
        "sampling": "whole",
        "sample_rate": 1.0,
        "batch_cap": 1000,
        "steps": 1,
        "sigma": 0.0,
        "clip": CLIP,
        "texts_per_customer": 2,
        "batch_constant": 1,
        "learning_rate": 1.0,
    }
    return Mechanism.from_dict(values | changes)


def states_of(parts: Parts, customers: list[CustomerTexts]) -> KeptStates:
    """Return the trunk's states in the model's own dtype."""
    rows = [row for customer in customers for row in customer.rows]
    with torch.no_grad():
        found = [
            parts.trunk(input_ids=torch.tensor([row.tokens]), use_cache=False).last_hidden_state[0]
            for row in rows
        ]
    starts = accumulate((len(row.tokens) for row in rows), initial=0)
    return KeptStates(
        torch.cat(found), {row.key: at for row, at in zip(rows, starts, strict=False)}
    )


def one_step(
    base: Path,
    spec: AdapterSpec,
    customers: list[CustomerTexts],
    budget: int = 4096,
    spoilt: dict[str, float] | None = None,
    **how: object,
) -> np.ndarray:
    """Return the flat change of one step; with the defaults, minus the sum of clipped gradients.

    Args:
        base: the base model.
        spec: what is trained, from :func:`midway`.
        customers: on whose texts.
        budget: padded tokens of a micro-batch.
        spoilt: a value to put into the first state of the texts with these keys.
        how: changes of :func:`mechanism`.
    """
    parts = load(base, spec)
    write_adapter(parts.sites, midway(spec))
    states = states_of(parts, customers)
    for key, value in (spoilt or {}).items():
        states._flat[states._starts[key]] = value
    sgd = CustomerDpSgd(parts.upper, states, mechanism(**how), budget)
    sgd.step(customers)
    sgd.close()
    return flat(read_adapter(parts.sites)) - flat(midway(spec))


def without(everyone: list[CustomerTexts], absent: int) -> list[CustomerTexts]:
    return [customer for index, customer in enumerate(everyone) if index != absent]


def by_whole_model(
    base: Path, spec: AdapterSpec, customers: list[CustomerTexts], clip: float
) -> np.ndarray:
    """Return what :func:`one_step` should, by autograd through the uncut model and no Opacus."""
    whole = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).requires_grad_(False)
    trained = {n: torch.from_numpy(array).requires_grad_() for n, array in midway(spec).items()}
    for name in spec.sites:
        layer = whole.get_submodule(name)
        weight = layer.weight.numpy()
        fixed = factors(spec.kind, spec.rank, *weight.shape, spec.factor_seed, weight, name)
        b, a = (torch.from_numpy(matrix) for matrix in fixed)
        if spec.kind == "lora":
            up, down = trained[f"{name}.lora_B"], trained[f"{name}.lora_A"]
        else:
            up, down = b @ trained[name] if spec.kind == "rxr" else trained[name], a
        layer.register_forward_hook(
            lambda _, inputs, out, up=up, down=down: out + inputs[0] @ down.T @ up.T
        )
    names = sorted(trained)
    total = torch.zeros(spec.parameters)
    for customer in customers:
        losses = []
        for row in customer.rows:
            tokens = torch.tensor(row.tokens)
            logits = whole(input_ids=tokens[None]).logits[0, row.target_start - 1 : -1]
            losses.append(torch.nn.functional.cross_entropy(logits, tokens[row.target_start :]))
        free = [trained[name] for name in names]
        grads = torch.autograd.grad(torch.stack(losses).mean(), free, retain_graph=True)
        gradient = torch.cat([g.ravel() for g in grads])
        total -= gradient * min(1.0, clip / float(gradient.norm()))
    return total.numpy()


def test_a_step_changes_every_tensor_of_the_adapter(parts: Parts, spec: AdapterSpec) -> None:
    before, customers = midway(spec), people(5)
    write_adapter(parts.sites, before)
    sgd = CustomerDpSgd(parts.upper, states_of(parts, customers), mechanism(), 4096)
    sgd.step(customers)
    after = read_adapter(parts.sites)
    assert all((after[name] != before[name]).any() for name in spec.shapes)


def test_training_gets_away_from_the_initial_adapter(parts: Parts, spec: AdapterSpec) -> None:
    customers = people(5)
    sgd = CustomerDpSgd(parts.upper, states_of(parts, customers), mechanism(), 4096)
    for _ in range(2):
        sgd.step(customers)
    after, before = read_adapter(parts.sites), initial(spec)
    assert all((after[name] != before[name]).any() for name in spec.shapes)


@pytest.mark.parametrize("clip", [CLIP, EVERYTHING])
@pytest.mark.parametrize("arch", ["llama", "gemma3", "qwen3"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_step_on_kept_states_is_that_of_the_whole_model(
    tmp_path: Path, arch: Arch, kind: str, clip: float
) -> None:
    base = make_tiny_model(tmp_path, arch)
    spec = spec_of(base, kind)
    wanted = by_whole_model(base, spec, people(4), clip)
    found = one_step(base, spec, people(4), clip=clip, learning_rate=1.0)
    assert np.linalg.norm(found - wanted) < 1e-4 * np.linalg.norm(wanted)


@pytest.mark.parametrize(("constant", "rate"), [(1, 1.0), (50, 3.0)])
def test_one_customer_moves_a_step_by_no_more_than_the_bound(
    base: Path, spec: AdapterSpec, constant: int, rate: float
) -> None:
    everyone, bound = people(6), rate * CLIP / constant
    how = {"batch_constant": constant, "learning_rate": rate}
    with_all = one_step(base, spec, everyone, **how)
    moved = [
        np.linalg.norm(with_all - one_step(base, spec, without(everyone, i), **how))
        for i in range(6)
    ]
    assert max(moved) <= bound * 1.001
    # Each is clipped: a looser bound would show.
    assert min(moved) >= bound * 0.99


def test_many_texts_of_one_customer_count_as_one_customer(base: Path, spec: AdapterSpec) -> None:
    loud = people(1, texts=40)
    assert np.linalg.norm(one_step(base, spec, loud, texts_per_customer=40)) <= CLIP * 1.001


def test_the_size_of_a_micro_batch_changes_nothing(base: Path, spec: AdapterSpec) -> None:
    small, large = (one_step(base, spec, people(7), budget=size) for size in (24, 100_000))
    assert np.linalg.norm(small - large) < 1e-4 * np.linalg.norm(large)


def test_packing_never_splits_a_customer() -> None:
    customers = people(30, texts=3)
    seen = 0
    for batch in pack([c.rows for c in customers], 64):
        owners = [row.key.split("-")[0] for row in batch.rows]
        assert len(set(owners)) == batch.customers
        assert all(owners.count(owner) == 3 for owner in owners)
        seen += batch.customers
    assert seen == 30


def test_noise_is_added_once_and_divided_by_the_public_constant(
    base: Path, wide: AdapterSpec
) -> None:
    # A small budget: several micro-batches, and still noise of one step.
    how = {"batch_constant": 50, "budget": 32}
    quiet = one_step(base, wide, people(3), **how)
    noise = one_step(base, wide, people(3), sigma=20.0, **how) - quiet
    assert noise.var() == pytest.approx((20.0 * CLIP / 50) ** 2, rel=0.03)


def test_every_step_adds_fresh_gaussian_noise_of_the_planned_variance(
    base: Path, wide: AdapterSpec
) -> None:
    parts, sigma, constant = load(base, wide), 30.0, 4
    nobody = mechanism(
        sampling="poisson_truncated", sample_rate=1e-12, sigma=sigma, batch_constant=constant
    )
    sgd = CustomerDpSgd(parts.upper, states_of(parts, people(1)), nobody, 4096)
    noises = []
    before, velocity = flat(read_adapter(parts.sites)).astype(np.float64), 0.0
    for _ in range(4):
        sgd.step(people(1))
        after = flat(read_adapter(parts.sites)).astype(np.float64)
        noises.append(constant * (before - after - MOMENTUM * velocity))
        before, velocity = after, before - after
    for noise in noises:
        assert noise.var() == pytest.approx((sigma * CLIP) ** 2, rel=0.03)
        assert abs(noise.mean()) < 6 * sigma * CLIP / np.sqrt(noise.size)
        assert stats.kstest(noise / (sigma * CLIP), "norm").pvalue > 1e-6
    for one, other in combinations(noises, 2):
        assert abs(np.corrcoef(one, other)[0, 1]) < 6 / np.sqrt(wide.parameters)


def test_a_trained_adapter_that_is_loaded_again_is_the_same_bit_for_bit(
    base: Path, spec: AdapterSpec, parts: Parts, tmp_path: Path
) -> None:
    customers, files = people(4), RunFiles(tmp_path)
    states = states_of(parts, customers)
    sgd = CustomerDpSgd(parts.upper, states, mechanism(sigma=1.0), 4096)
    sgd.step(customers)
    sgd.close()
    trained = read_adapter(parts.sites)
    files.save(files.adapter("run", 1), trained)
    kept = files.load(files.adapter("run", 1), spec)
    assert kept is not None
    again = load(base, spec)
    write_adapter(again.sites, kept)
    for name, array in read_adapter(again.sites).items():
        assert array.tobytes() == trained[name].tobytes()
    (batch,) = pack([c.rows for c in customers], 4096)
    given = (states.padded(batch.rows), batch.mask, batch.where_row, batch.where_column)
    with torch.inference_mode():
        assert torch.equal(parts.upper(*given), again.upper(*given))


def test_nobody_sampled_moves_nothing_but_the_noise(base: Path, spec: AdapterSpec) -> None:
    nobody = {"sampling": "poisson_truncated", "sample_rate": 1e-12}
    assert not one_step(base, spec, people(3), **nobody).any()
    assert one_step(base, spec, people(3), sigma=1.0, **nobody).any()


def test_a_step_takes_no_more_customers_than_the_cap(base: Path, spec: AdapterSpec) -> None:
    alike = [people(1)[0]] * 5
    how = {"sampling": "poisson_truncated", "sample_rate": 1 - 1e-12, "batch_cap": 2}
    assert np.linalg.norm(one_step(base, spec, alike, **how)) == pytest.approx(2 * CLIP, rel=1e-3)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_text_that_is_not_finite_drops_its_customer_and_no_other(
    base: Path, spec: AdapterSpec, value: float
) -> None:
    everyone = people(4)
    found = one_step(base, spec, everyone, spoilt={"1-0": value})
    wanted = one_step(base, spec, without(everyone, 1))
    assert np.isfinite(found).all()
    assert np.linalg.norm(found - wanted) < 1e-4 * np.linalg.norm(wanted)


def test_a_nan_in_one_tensor_drops_the_customer_from_all() -> None:
    (batch,) = pack([c.rows for c in people(3, texts=1)], 4096)
    tensors = [torch.nn.Parameter(torch.zeros(2, 2)) for _ in range(2)]
    for tensor in tensors:
        tensor.grad_sample = torch.ones(3, 2, 2)  # type: ignore[attr-defined]
    tensors[1].grad_sample[1, 0, 0] = float("nan")  # type: ignore[attr-defined]
    fold_rows(tensors, batch)
    for tensor in tensors:
        kept = tensor.grad_sample.sum(dim=(1, 2))  # type: ignore[attr-defined]
        assert kept.tolist() == [4.0, 0.0, 4.0]


def test_a_tensor_without_gradients_for_each_text_is_refused() -> None:
    (batch,) = pack([people(1)[0].rows], 4096)
    with pytest.raises(Refused, match="gradient for each text"):
        fold_rows([torch.nn.Parameter(torch.zeros(2))], batch)


def test_a_model_with_nothing_to_train_is_refused(parts: Parts) -> None:
    parts.upper.requires_grad_(requires_grad=False)
    with pytest.raises(Refused, match="nothing would be trained"):
        CustomerDpSgd(parts.upper, states_of(parts, people(1)), mechanism(), 256)


def alike_by_chance(counts: np.ndarray, mean: float, variance: float) -> bool:
    """Return whether counts vary as they should; wrong for a right sampler once in a million."""
    total = float(((counts - mean) ** 2).sum() / variance)
    low, high = stats.chi2.ppf([5e-7, 1 - 5e-7], len(counts))
    return bool(low < total < high)


def test_customers_are_sampled_independently_at_the_public_rate() -> None:
    count, rate, draws = 400, 0.05, 5000
    how = mechanism(sampling="poisson_truncated", sample_rate=rate, batch_cap=count)
    taken = np.zeros((draws, count))
    for draw in taken:
        draw[sample_customers(count, how)] = 1
    spread = rate * (1 - rate)
    trials = draws * count
    assert abs(taken.sum() - trials * rate) < 5 * np.sqrt(trials * spread)
    assert alike_by_chance(taken.sum(axis=0), draws * rate, draws * spread)
    # A shuffled loader would give the same size each time.
    assert alike_by_chance(taken.sum(axis=1), count * rate, count * spread)


def test_a_poisson_batch_is_truncated_at_its_cap_to_a_uniform_subset() -> None:
    count, cap, draws = 100, 10, 2000
    how = mechanism(sampling="poisson_truncated", sample_rate=0.9, batch_cap=cap)
    taken = np.zeros(count)
    for _ in range(draws):
        chosen = sample_customers(count, how)
        assert len(chosen) == len(set(chosen)) == cap
        taken[chosen] += 1
    share = cap / count
    assert alike_by_chance(taken, draws * share, draws * share * (1 - share))

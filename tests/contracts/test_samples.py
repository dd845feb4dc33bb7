"""Every implementation of port ``Samples`` keeps the same promises."""

import pytest

from shared.ids import CustomerKey
from store_node.ports import Sample, Samples
from store_node.samples.desensitize import restore
from store_node.wiring import StoreData


@pytest.fixture
def samples(data: StoreData) -> Samples:
    return data.samples


def sample(name: str, customer: str, lang: str = "en", kind: str = "reply") -> Sample:
    return Sample(
        sample_id=name,
        customer=CustomerKey(customer),
        lang=lang,
        kind=kind,
        prompt=restore(f"prompt 提示 {name}", "policy-1"),
        target=restore(" target\n", "policy-1"),
        detector_version="detector-1",
        masked_digest="00",
    )


def test_samples_come_back_in_order_and_are_written_once(samples: Samples) -> None:
    rows = [sample("s3", "b"), sample("s2", "a", "zh"), sample("s1", "b", kind="intent")]
    assert samples.add(rows) == 3
    assert samples.add([*rows, sample("s4", "a")]) == 1
    assert [one.sample_id for one in samples.all()] == ["s2", "s4", "s1", "s3"]
    assert next(samples.all()) == rows[1]
    assert samples.stats() == {
        "samples": 4,
        "customers": 2,
        "lang:en": 3,
        "lang:zh": 1,
        "kind:intent": 1,
        "kind:reply": 3,
    }


def test_a_customer_can_be_forgotten(samples: Samples) -> None:
    samples.add([sample("s1", "a"), sample("s2", "b"), sample("s3", "a")])
    assert samples.forget(CustomerKey("a")) == 2
    assert [one.sample_id for one in samples.all()] == ["s2"]
    assert samples.forget(CustomerKey("a")) == 0


def test_no_samples(samples: Samples) -> None:
    assert list(samples.all()) == []
    assert samples.add([]) == 0
    assert samples.stats() == {"samples": 0, "customers": 0}


def test_a_thousand_at_once(samples: Samples) -> None:
    assert samples.add([sample(f"s{number:04}", "a") for number in range(1000)]) == 1000
    assert sum(1 for _ in samples.all()) == 1000

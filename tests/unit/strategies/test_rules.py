"""What is said before a robust rule is used."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import BadInput, Refused
from strategies import robust
from strategies.rules import RULES, cautions


def test_every_rule_is_there_and_names_its_source() -> None:
    for name, rule in RULES.items():
        assert rule.name == name
        assert callable(getattr(robust, name))
        assert rule.source[-4:].isdigit()


def test_only_the_norm_bound_is_private_with_noise_added_after_it() -> None:
    assert [name for name, rule in RULES.items() if rule.private] == ["bound_norm"]


@pytest.mark.parametrize("name", RULES)
def test_noise_at_the_stores_and_enough_of_them_leave_nothing_to_say(name: str) -> None:
    assert cautions(name, stores=20, faults=2, noise_at_store=True) == ()
    assert bool(cautions(name, stores=20, faults=2, noise_at_store=False)) != RULES[name].private


@given(name=st.sampled_from(sorted(RULES)), faults=st.integers(0, 50), spare=st.integers(0, 5))
def test_too_few_stores_are_warned_of_and_refused(name: str, faults: int, spare: int) -> None:
    least = RULES[name].min_stores(faults)
    RULES[name].require(least + spare, faults)
    assert not cautions(name, stores=least + spare, faults=faults, noise_at_store=True)
    with pytest.raises(Refused, match=f"at least {least}"):
        RULES[name].require(least - 1, faults)
    assert str(least) in cautions(name, stores=least - 1, faults=faults, noise_at_store=True)[0]


def test_krum_needs_more_than_twice_the_faults_and_two() -> None:
    assert RULES["krum"].min_stores(1) == RULES["multi_krum"].min_stores(1) == 5
    assert RULES["median"].min_stores(1) == RULES["trimmed_mean"].min_stores(1) == 3


def test_what_is_no_rule_or_no_count_is_refused() -> None:
    with pytest.raises(BadInput, match="choose one of"):
        cautions("mean", stores=3, faults=0, noise_at_store=True)
    with pytest.raises(ValueError, match="faults -1"):
        RULES["median"].require(3, -1)

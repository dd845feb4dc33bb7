"""Templates and the spans of personal data in what they say."""

import random

import pytest

from deploy.world.grammar import Speaker, TemplateError, Value, parse

SPEAKER = Speaker(
    chance=random.Random(1),  # noqa: S311
    fragments={"hi": "[Hello|Good day] {name}"},
    values={"name": Value(text="Ada", label="name"), "shop": Value(text="Nook")},
)


def test_spans_point_at_the_value_in_the_finished_text() -> None:
    line = SPEAKER.say(" {hi}, welcome to {shop}, {name}! ")

    assert [line.text[span.start : span.end] for span in line.spans] == ["Ada", "Ada"]
    assert line.text == line.text.strip()


def test_noise_leaves_personal_data_alone() -> None:
    line = SPEAKER.say("dear {name} of {shop}", noise=str.upper)

    assert line.text == "DEAR Ada OF NOOK"


def test_choices_nest_and_may_be_empty() -> None:
    said = {SPEAKER.say("a[b[c|d]|]").text for _ in range(60)}

    assert said == {"a", "abc", "abd"}


@pytest.mark.parametrize("template", ["a [b|c", "a {b"])
def test_a_malformed_template_is_refused(template: str) -> None:
    with pytest.raises(TemplateError):
        parse(template)


def test_a_slot_that_nobody_fills_is_refused() -> None:
    with pytest.raises(TemplateError, match="nobody fills"):
        SPEAKER.say("{nothing}")

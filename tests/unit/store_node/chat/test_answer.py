"""The answer path over a filled store, with engines that behave and engines that do not."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest

from shared.config import Settings
from shared.errors import BadInput, Refused, Unavailable
from store_node.chat.answer import ChatService
from store_node.chat.hub import MOST_WAITING, Failed, Hub
from store_node.chat.model import Action, Answer, Asking, Delta, Question
from store_node.ports import Chunk, Generate
from store_node.wiring import StoreData, make_service, opened
from tests.fakes import FakeEngine
from tests.shop import make_shop


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return make_shop(tmp_path)


@pytest.fixture
def data(settings: Settings, tmp_path: Path) -> Iterator[StoreData]:
    with opened(settings, tmp_path) as data:
        yield data


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def service(settings: Settings, data: StoreData, engine: FakeEngine) -> ChatService:
    return make_service(settings, data, engine)


def question(text: str, session: str = "s", **more: str) -> Question:
    return Question(text=text, session_id=session, **more)


async def test_events_come_in_order_and_the_question_is_durable_first(
    service: ChatService, data: StoreData
) -> None:
    kinds = []
    async for event in service.ask(question("Can I return goods?")):
        if isinstance(event, Asking):
            session = data.dialogues.open("s", None, "en")
            assert data.dialogues.before(session, 9, 9)[0].message_id == event.message_id
            assert data.dialogues.answers_after(session, "") == []
        kinds.append(type(event))
    assert kinds == [Asking, Delta, Answer]


async def test_the_model_sees_facts_passages_and_the_talk_so_far(
    service: ChatService, engine: FakeEngine
) -> None:
    await service.answer(question("I like the Aurora keyboard"))
    await service.answer(question("Can I return goods?"))
    first, second = engine.prompts
    assert first.startswith("Note: The price of Aurora Mechanical Keyboard is 89.90 USD.\nNote: ")
    assert "Note: You can return goods within 30 days." in second
    assert second.endswith(
        "Customer: I like the Aurora keyboard\nAgent: Thank you.\n"
        "Customer: Can I return goods?\nAgent:"
    )


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("这个极光机械键盘还有货吗", "极光机械键盘有货，库存7件。"),
        ("Is the Breeze Office Keyboard in stock?", "Breeze Office Keyboard is out of stock"),
        ("¿Cuánto cuesta el Aurora?", "El precio de Aurora Mechanical Keyboard es 89.90 USD."),
        ("Was kostet das Aurora Mechanical Keyboard?", "Der Preis von Aurora Mechanical"),
        ("بكم لوحة المفاتيح Aurora؟", "سعر «Aurora Mechanical Keyboard» هو 89.90 USD."),
        ("Auroraはいくらですか", "Aurora Mechanical Keyboardの価格は89.90 USDです。"),
        ("How much is it?", "Which product do you mean?"),
    ],
)
async def test_facts_lead_in_the_customers_language(
    service: ChatService, text: str, wanted: str
) -> None:
    answer = await service.answer(question(text))
    assert answer.content.startswith(wanted)


async def test_an_own_order_is_told_without_its_number_and_in_the_own_language(
    service: ChatService,
) -> None:
    answer = await service.answer(question("我的订单到哪了？", user_id="c-1"))
    assert answer.content.startswith(
        "订单#W1002003（极光机械键盘，2件，2026-11-01下单）状态：已发货。"
    )
    other = await service.answer(question("我的订单到哪了？", "t", user_id="c-2"))
    assert other.content.startswith("在您的账户下没有找到该订单。")
    assert "SF" not in other.content


async def test_a_model_cannot_contradict_a_fact(service: ChatService, engine: FakeEngine) -> None:
    engine.reply = " Sorry, it is sold out. Have a nice day."
    answer = await service.answer(question("Is the Aurora in stock?"))
    assert (
        answer.content == "Aurora Mechanical Keyboard is in stock (12 available). Have a nice day."
    )


async def test_nothing_to_say_is_said_honestly(service: ChatService, engine: FakeEngine) -> None:
    engine.reply = " The answer is 42!"
    answer = await service.answer(question("Do you like music?"))
    assert answer.content.startswith("I do not have this information.")
    assert (answer.release, answer.sources) == ("rules", ())


async def test_a_handed_over_conversation_goes_on_waiting(service: ChatService) -> None:
    assert (await service.answer(question("a human please, real person"))).action is Action.HANDOFF
    after = await service.answer(question("Can I return goods?"))
    assert after.action is Action.HANDOFF
    assert after.sources


class Breaking(FakeEngine):
    """Breaks in the middle, or never goes on."""

    hang = False

    async def generate(self, request: Generate) -> AsyncGenerator[Chunk]:
        yield Chunk(text=" Sure. You", release=self.release)
        if self.hang:
            await asyncio.Event().wait()
        raise Unavailable("gone")


async def test_an_engine_that_breaks_leaves_what_it_said(
    settings: Settings, data: StoreData
) -> None:
    service = make_service(settings, data, Breaking())
    answer = await service.answer(question("Can I return goods?"))
    assert (answer.content, answer.release) == ("Sure. You", "rel-fake")


@pytest.mark.parametrize("text", ["", " \n", "x" * 4001, "a\ud800"])
async def test_bad_questions_are_refused_and_leave_nothing(
    service: ChatService, data: StoreData, text: str
) -> None:
    with pytest.raises(BadInput):
        await service.answer(question(text))
    assert data.dialogues.before(data.dialogues.open("s", None, "en"), 9, 9) == []
    with pytest.raises(BadInput, match="session_id"):
        await service.answer(question("hi", "s" * 201))


async def test_the_hub_answers_in_order_and_refuses_too_many(
    service: ChatService, engine: FakeEngine
) -> None:
    engine.gate = asyncio.Event()
    hub = Hub(service)
    listener = hub.listen("s")
    for number in range(MOST_WAITING):
        hub.submit(question("Can I return goods?", client_id=f"m{number}"))
    hub.submit(question("Can I return goods?", client_id="m3"))
    with pytest.raises(Refused, match="wait"):
        hub.submit(question("Can I return goods?", client_id="more"))
    engine.gate.set()
    answered = []
    while len(answered) < MOST_WAITING:
        event = await asyncio.wait_for(listener.next(), 20)
        if isinstance(event, Answer):
            answered.append(event.client_id)
    assert answered == [f"m{number}" for number in range(MOST_WAITING)]
    hub.leave("s", listener)
    await hub.close()


async def test_a_failure_is_told_and_the_line_goes_on(
    service: ChatService, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = Hub(service)
    listener = hub.listen("s")
    engine.reply = None  # type: ignore[assignment] - a bug inside the engine
    hub.submit(question("Can I return goods?", client_id="m1"))
    while not isinstance(event := await asyncio.wait_for(listener.next(), 20), Failed):
        pass
    assert (event.client_id, event.code) == ("m1", "failure")
    engine.reply = " Yes."
    hub.submit(question("Can I return goods?", client_id="m1"))
    while not isinstance(event := await asyncio.wait_for(listener.next(), 20), Answer):
        pass
    assert event.content == "Yes."
    await hub.close()

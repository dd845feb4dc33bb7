"""Every implementation of port ``Engine`` keeps the same promises."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
import torch

from shared.config import PerformanceSettings, ServingSettings
from shared.errors import BadInput, Unavailable
from shared.hashing import digest_folder
from store_node.adapters.grpc_engine import GrpcEngine
from store_node.api.grpc import start_server
from store_node.ports import Chunk, Engine, Generate
from store_node.serving.engine import EmbeddedEngine
from tests.tiny_model import make_tiny_model

LONG = 900


@pytest.fixture(scope="module", params=["llama", "gemma3"])
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("base"), request.param, seed=3)


@pytest.fixture(params=["embedded", "grpc"])
async def engine(
    request: pytest.FixtureRequest, base: Path, tmp_path: Path
) -> AsyncIterator[Engine]:
    serving = ServingSettings(max_waiting=16)
    inner = EmbeddedEngine.open(
        base,
        digest_folder(base),
        home=tmp_path,
        serving=serving,
        performance=PerformanceSettings(device="cpu"),
        dtype=torch.float32,
    )
    if request.param == "embedded":
        yield inner
        await inner.close(5)
        return
    server = await start_server(inner, serving, host="127.0.0.1", port=0)
    client = GrpcEngine(f"127.0.0.1:{server.port}", tls=None)
    yield client
    await client.close()
    await server.stop(5)


async def complete(engine: Engine, prompt: str, **wanted: object) -> tuple[str, Chunk]:
    text, last = "", Chunk(text="")
    request = Generate(request_id="r-1", prompt=prompt, **wanted)  # type: ignore[arg-type]
    async for last in engine.generate(request):
        text += last.text
    return text, last


async def test_a_completion_ends_with_a_reason_and_counts(engine: Engine) -> None:
    assert await engine.ready()
    _, last = await complete(engine, "Customer: 你好", max_new_tokens=7)
    assert last.finish_reason in {"length", "stop"}
    assert 0 < last.completion_tokens <= 7
    assert last.prompt_tokens >= len("Customer: 你好".encode())
    assert last.release.startswith("base-")


async def test_requests_at_once_get_what_they_get_alone(engine: Engine) -> None:
    prompts = [f"Customer: {'long ' * number} question {number}?" for number in range(9)]
    alone = [
        await complete(engine, prompt, max_new_tokens=12 + i) for i, prompt in enumerate(prompts)
    ]
    together = await asyncio.gather(
        *(complete(engine, prompt, max_new_tokens=12 + i) for i, prompt in enumerate(prompts))
    )
    assert [text for text, _ in together] == [text for text, _ in alone]


async def test_a_stop_string_ends_the_text_before_it(engine: Engine) -> None:
    whole, _ = await complete(engine, "abc", max_new_tokens=30)
    assert len(whole) > 3
    stop = whole[2:4]
    text, last = await complete(engine, "abc", max_new_tokens=30, stop=("never so", stop))
    assert text == whole[: whole.index(stop)]
    assert last.finish_reason == "stop"


async def test_scores_do_not_depend_on_company_and_sum_over_tokens(engine: Engine) -> None:
    candidates = [" order status\n", " 退货\n", " x"]
    scores = await engine.score("Customer: hi\nTopic:", candidates)
    assert scores.tokens == tuple(len(text.encode()) for text in candidates)
    for text, value in zip(candidates, scores.log_likelihoods, strict=True):
        alone = await engine.score("Customer: hi\nTopic:", [text])
        assert alone.log_likelihoods[0] == pytest.approx(value, abs=1e-3)
        assert value < 0
    head = await engine.score("Customer: hi\nTopic:", [" order"])
    tail = await engine.score("Customer: hi\nTopic: order", [" status\n"])
    joined = head.log_likelihoods[0] + tail.log_likelihoods[0]
    assert joined == pytest.approx(scores.log_likelihoods[0], abs=1e-2)


async def test_closing_the_stream_cancels_and_frees_the_place(engine: Engine) -> None:
    request = Generate(request_id="r-2", prompt="go on", max_new_tokens=LONG)
    async with aclosing(engine.generate(request)) as chunks:  # type: ignore[type-var]
        await anext(chunks)
    text, _ = await complete(engine, "next", max_new_tokens=3)
    assert isinstance(text, str)


async def test_an_over_long_prompt_is_cut_on_the_left(engine: Engine) -> None:
    _, last = await complete(engine, "x" * 5000 + " end", max_new_tokens=1)
    assert last.prompt_tokens == 1024


async def test_an_unknown_release_is_bad_input(engine: Engine) -> None:
    with pytest.raises(BadInput, match="rel-none"):
        await complete(engine, "hello", release="rel-none")
    with pytest.raises(BadInput, match="candidates"):
        await engine.score("hello", [])


async def test_too_many_waiting_are_refused_as_unavailable(engine: Engine) -> None:
    """32 are decoded, 16 may wait; of the rest some must be refused, and none fails otherwise."""
    asked = [
        asyncio.create_task(complete(engine, f"wait {number}", max_new_tokens=4000))
        for number in range(60)
    ]
    done, running = await asyncio.wait(asked, timeout=60, return_when=asyncio.FIRST_EXCEPTION)
    # A random model may end an answer early, which is no refusal.
    refusals = [error for task in done if (error := task.exception()) is not None]
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    assert refusals
    for error in refusals:
        assert isinstance(error, Unavailable)
        assert error.facts.get("overloaded")
    assert (await patient(engine, "after"))[1].finish_reason


async def patient(engine: Engine, prompt: str) -> tuple[str, Chunk]:
    """Complete as soon as there is room: a cancellation takes a moment to reach a service."""
    for _ in range(100):
        try:
            return await complete(engine, prompt, max_new_tokens=2)
        except Unavailable:
            await asyncio.sleep(0.05)
    return await complete(engine, prompt, max_new_tokens=2)


async def test_nobody_listening_is_unavailable() -> None:
    client = GrpcEngine("127.0.0.1:1", tls=None)
    assert not await client.ready()
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
        await complete(client, "hello")
    await client.close()

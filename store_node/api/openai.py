"""The OpenAI-compatible surface: chat completions and the list of models."""

import json
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response, StreamingResponse

from shared.errors import BadInput
from shared.ids import new_id
from store_node.api.errors import error_response
from store_node.chat.answer import ChatService, Event
from store_node.chat.model import Answer, Delta, Question, turns_of

MODEL = "storeweave"


class _Lenient(BaseModel):
    # Clients send many options that do not concern us; refusing them would break them.
    model_config = ConfigDict(extra="ignore")


class TextPart(_Lenient):
    """A piece of a message's content; only text is understood."""

    type: Literal["text"]
    text: str


class ChatTurn(_Lenient):
    """One message."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None

    def plain(self) -> str:
        """Return the text."""
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content)
        return self.content or ""


class StreamOptions(_Lenient):
    """Options of a stream."""

    include_usage: bool = False


class CompletionRequest(_Lenient):
    """A request for a chat completion; ``user`` is the store's customer."""

    model: str = MODEL
    messages: list[ChatTurn] = Field(min_length=1, max_length=200)
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    user: str | None = Field(default=None, min_length=1, max_length=200)


def make_router(service: ChatService, *, base: str) -> APIRouter:
    """Return the routes; ``base`` names the base model."""
    router = APIRouter()
    created = int(time.time())

    @router.get("/v1/models")
    async def models() -> dict[str, Any]:
        entry = {
            "id": MODEL,
            "object": "model",
            "created": created,
            "owned_by": "storeweave",
            "root": base,
            "parent": None,
        }
        return {"object": "list", "data": [entry]}

    @router.post("/v1/chat/completions", response_model=None)
    async def completions(request: CompletionRequest) -> Response:
        if request.model != MODEL:
            return error_response(
                404,
                f"there is no such model; the only one is {MODEL}",
                "invalid_request_error",
                "model_not_found",
            )
        question = _question(request)
        if not request.stream:
            answer = await service.answer(question)
            return JSONResponse(_completion(answer))
        events = service.ask(question)
        first = await anext(events)  # a refusal is an HTTP error, not a broken stream
        return StreamingResponse(
            _stream(first, events, usage=request.stream_options.include_usage),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
        )

    return router


def _question(request: CompletionRequest) -> Question:
    *before, last = request.messages
    if last.role != "user":
        raise BadInput("the last message is not the user's", remedy="end with a user message")
    # The caller keeps the conversation: each call is a session of its own.
    return Question(
        text=last.plain(),
        session_id=new_id("session"),
        user_id=request.user,
        history=turns_of([(turn.role, turn.plain()) for turn in before]),
    )


def _usage(answer: Answer) -> dict[str, int]:
    prompt = answer.usage.get("prompt_tokens", 0)
    completion = answer.usage.get("completion_tokens", 0)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


def _completion(answer: Answer) -> dict[str, Any]:
    return {
        "id": answer.message_id,
        "object": "chat.completion",
        "created": int(time.time()),
        "model": MODEL,
        "system_fingerprint": answer.release,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": answer.content},
                "finish_reason": "stop",
            }
        ],
        "usage": _usage(answer),
    }


async def _stream(
    first: Event, events: AsyncGenerator[Event], *, usage: bool
) -> AsyncGenerator[str]:
    head = {
        "id": new_id("completion"),
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": MODEL,
    }

    def line(delta: dict[str, str], finish: str | None = None, **more: object) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return _data({**head, "choices": [choice], **more})

    yield line({"role": "assistant", "content": ""})
    async with aclosing(events):
        event: Event | None = first
        while event is not None:
            if isinstance(event, Delta):
                yield line({"content": event.text})
            elif isinstance(event, Answer):
                yield line({}, "stop", system_fingerprint=event.release)
                if usage:
                    yield _data({**head, "choices": [], "usage": _usage(event)})
            event = await anext(events, None)
    yield "data: [DONE]\n\n"


def _data(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"

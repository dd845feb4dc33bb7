"""``POST /v1/chat`` and the health endpoints."""

from typing import Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

from shared.ids import new_id
from store_node.api.metrics import CONTENT_TYPE, Metrics
from store_node.chat.answer import ChatService
from store_node.chat.model import MAX_ID, Answer, Question


class Context(BaseModel):
    """Who asks, and in which session."""

    model_config = ConfigDict(extra="forbid")

    user_id: str | None = Field(default=None, min_length=1, max_length=MAX_ID)
    session_id: str | None = Field(default=None, min_length=1, max_length=MAX_ID)


class ChatRequest(BaseModel):
    """A question; its length is checked by the answer path."""

    model_config = ConfigDict(extra="forbid")

    query: str
    context: Context = Context()


class ChatResponse(BaseModel):
    """The inner part of an answer."""

    intent: str
    entities: list[str]
    answer: str


class SourceOut(BaseModel):
    """A passage that the answer rests on."""

    position: int
    document_id: str
    document_name: str
    score: float
    content: str


class EntityOut(BaseModel):
    """An entity and where it stands in the query, in characters."""

    start: int
    end: int
    label: str
    value: str


class ChatReply(BaseModel):
    """An answer; ``release`` is ``rules`` where no model took part."""

    response: ChatResponse
    entity_spans: list[EntityOut]
    sources: list[SourceOut]
    message_id: str
    release: str
    action: str


def reply_of(answer: Answer) -> dict[str, Any]:
    """Return the JSON form of an answer."""
    return {
        "response": {
            "intent": answer.intent,
            "entities": [span.value for span in answer.entities],
            "answer": answer.content,
        },
        "entity_spans": [span.as_dict() for span in answer.entities],
        "sources": [source.as_dict() for source in answer.sources],
        "message_id": answer.message_id,
        "release": answer.release,
        "action": str(answer.action),
    }


def make_router(service: ChatService, metrics: Metrics) -> APIRouter:
    """Return the routes."""
    router = APIRouter()

    @router.post("/v1/chat", response_model=ChatReply)
    async def chat(request: ChatRequest) -> dict[str, Any]:
        question = Question(
            text=request.query,
            session_id=request.context.session_id or new_id("session"),
            user_id=request.context.user_id,
        )
        return reply_of(await service.answer(question))

    @router.get("/health/live")
    async def live() -> dict[str, str]:
        return {"status": "live"}

    @router.get("/health/ready")
    async def ready() -> JSONResponse:
        is_ready = await service.ready()
        return JSONResponse(
            {"status": "ready" if is_ready else "starting"}, status_code=200 if is_ready else 503
        )

    @router.get("/metrics")
    async def metrics_text() -> Response:
        return Response(metrics.render(), media_type=CONTENT_TYPE)

    return router

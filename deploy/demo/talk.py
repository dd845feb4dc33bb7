"""The demo as its users: customers over WebSocket, an operator over HQ's API."""

import asyncio
import json
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import httpx
import websockets

from deploy.demo.layout import Question
from shared.errors import (
    BadInput,
    BudgetRefused,
    GateClosed,
    NotVerified,
    Refused,
    StoreWeaveError,
    Unavailable,
)

ANSWER_S = 120.0
_POLL_S = 0.4
_ERRORS: dict[str, type[StoreWeaveError]] = {
    kind.code: kind
    for kind in (BadInput, BudgetRefused, GateClosed, NotVerified, Refused, Unavailable)
}
OnEvent = Callable[[Mapping[str, Any]], None]


async def ask(url: str, questions: Sequence[str]) -> list[dict[str, Any]]:
    """Ask in one session over WebSocket and return the final answers (``message.created``).

    Raises:
        Unavailable: the store closed the line or did not answer in time.
    """
    answers: list[dict[str, Any]] = []
    try:
        async with asyncio.timeout(ANSWER_S), websockets.connect(url) as line:
            await _send(line, "session.start", {"session_id": f"demo-{uuid.uuid4().hex[:12]}"})
            for number, text in enumerate(questions):
                await _send(line, "message.created", {"client_id": str(number), "content": text})
                answers.append(await _answer(line))
    except (TimeoutError, OSError, websockets.WebSocketException) as error:
        raise Unavailable(
            f"the store did not answer ({type(error).__name__})",
            where=url,
            remedy="see store.log in the store's home",
        ) from None
    return answers


async def ask_all(urls: Mapping[str, str], questions: Sequence[Question]) -> list[str]:
    """Ask every store its questions at the same time; return the answers in order of questions."""
    by_store: dict[str, list[Question]] = {}
    for question in questions:
        by_store.setdefault(question.store_id, []).append(question)
    told = await asyncio.gather(
        *(ask(urls[name], [q.text for q in mine]) for name, mine in by_store.items())
    )
    found = {
        id(question): str(answer["content"])
        for mine, answers in zip(by_store.values(), told, strict=True)
        for question, answer in zip(mine, answers, strict=True)
    }
    return [found[id(question)] for question in questions]


async def _send(line: Any, event: str, data: Mapping[str, Any]) -> None:  # noqa: ANN401
    await line.send(json.dumps({"event": event, "data": data}, ensure_ascii=False))


async def _answer(line: Any) -> dict[str, Any]:  # noqa: ANN401 - a websockets connection
    while True:
        frame = json.loads(await line.recv())
        if frame["event"] == "ping":
            await _send(line, "pong", {})
        elif frame["event"] == "message.created":
            data: dict[str, Any] = frame["data"]
            return data
        elif frame["event"] == "error":
            raise Unavailable(f"the store refused a question ({frame['data'].get('code')})")


class Crowd:
    """Customers who keep asking while a release goes out; counts answers and failures."""

    def __init__(self, url: str, questions: Sequence[str]) -> None:
        self._url = url
        self._questions = questions
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.answered: dict[str, int] = {}
        """Answers by release."""
        self.failed = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=ANSWER_S)

    def _run(self) -> None:
        number = 0
        while not self._stop.is_set():
            question = self._questions[number % len(self._questions)]
            number += 1
            try:
                (answer,) = asyncio.run(ask(self._url, [question]))
            except StoreWeaveError:
                self.failed += 1
                continue
            release = str(answer.get("release", ""))
            self.answered[release] = self.answered.get(release, 0) + 1


class Operator:
    """HQ's operator API from outside."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=60.0)

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def get(self, path: str, **query: Any) -> dict[str, Any]:  # noqa: ANN401
        """Return a resource; HQ's error is raised as the one it is."""
        return self._call("GET", path, params=query)

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Make or start something; HQ's error is raised as the one it is."""
        return self._call("POST", path, json=dict(body or {}))

    def follow_run(self, run_id: str, on_event: OnEvent) -> dict[str, Any]:
        """Wait until a run has ended, telling its events; return it.

        Raises:
            Refused: a store or HQ refused it.
            Unavailable: it died.
        """
        seen, stop = 0, threading.Event()
        while True:
            run = self.get(f"/v1/runs/{run_id}", after=seen)
            for event in run["events"]:
                seen = event["seq"]
                on_event(event)
                if event["event"] == "run.finished":
                    return self.get(f"/v1/runs/{run_id}")
                if event["event"] == "run.stopped":
                    kind = _ERRORS.get(str(event.get("code")), Refused)
                    raise kind(str(event.get("reason", "")), where=run_id, remedy="plan a new run")
            stop.wait(_POLL_S)

    def follow_job(self, job: Mapping[str, Any], on_event: OnEvent) -> dict[str, Any]:
        """Wait until a job has ended, telling its events; return it, whatever its end."""
        seen, stop = 0, threading.Event()
        while True:
            found = self.get(f"/v1/jobs/{job['job_id']}", after=seen)
            for event in found["events"]:
                seen = event["seq"]
                on_event(event)
            if found["state"] not in {"queued", "running"}:
                return found
            stop.wait(_POLL_S)

    def _call(self, method: str, path: str, **how: Any) -> dict[str, Any]:  # noqa: ANN401
        try:
            answer = self._http.request(method, path, **how)
            value: dict[str, Any] = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise Unavailable(
                f"HQ did not answer ({type(error).__name__})", where=path, remedy="see hq.log"
            ) from None
        if answer.is_success:
            return value
        found = value.get("error", value)
        kind = _ERRORS.get(str(found.get("code")), Refused)
        raise kind(
            str(found.get("message", "refused")),
            where=str(found.get("where", path)),
            remedy=str(found.get("remedy", "")),
            **dict(found.get("facts") or {}),
        )

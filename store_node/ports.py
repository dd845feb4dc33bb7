"""What the store needs from the outside world, as small protocols; ``adapters`` implement them."""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from shared.adapters import AdapterSpec, Arrays
from shared.formats import CatalogRow, IntentRow, KnowledgeRow, OrderRow
from shared.ids import CustomerKey
from shared.rounds import Mechanism
from shared.text import DesensitizedText, RawText


@dataclass(frozen=True, slots=True, kw_only=True)
class Generate:
    """A request for a completion."""

    request_id: str
    prompt: str
    max_new_tokens: int = 64
    stop: tuple[str, ...] = ()
    temperature: float = 0.0
    release: str = ""
    """Empty: the engine chooses between stable and canary by weight."""
    sticky_key: str = ""
    """A session keeps its release while weights stand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A piece of a completion.

    The last one has a ``finish_reason`` (``stop``, ``length``, ``cancelled``).
    """

    text: str
    finish_reason: str = ""
    release: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Natural-log likelihood of each candidate, summed over its tokens, and their number."""

    log_likelihoods: tuple[float, ...]
    tokens: tuple[int, ...]
    release: str


class Engine(Protocol):
    """Generates and scores text; raises ``Unavailable`` when out of reach or overloaded."""

    def generate(self, request: Generate) -> AsyncIterator[Chunk]:
        """Stream a completion; closing the iterator cancels it."""
        ...

    async def score(
        self, prompt: str, candidates: Sequence[str], *, release: str = "", sticky_key: str = ""
    ) -> Scores:
        """Return the log-likelihood of each candidate as continuation of the prompt."""
        ...

    async def ready(self) -> bool:
        """Return whether a release is loaded and requests would be answered."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A passage found for a question.

    ``score`` falls with rank and is comparable within one search only.
    """

    document_id: str
    title: str
    text: str
    lang: str
    score: float


class KnowledgeIndex(Protocol):
    """Search over the store's passages, one partition a language, never mixed unasked."""

    def replace(self, lang: str, rows: Iterable[KnowledgeRow]) -> int:
        """Rebuild the partition of ``lang`` from ``rows``, visible at once; return how many."""
        ...

    def search(self, text: str, lang: str, k: int = 5) -> list[Hit]:
        """Return at most ``k`` hits of the partition, best first."""
        ...

    def counts(self) -> Mapping[str, int]:
        """Return passages by language."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMessage:
    """A message as it was written; raw, so it never leaves the store."""

    message_id: str
    role: str
    content: RawText
    created: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredConversation:
    """A conversation with its messages in order; ``customer`` is the keyed pseudonym."""

    conversation_id: str
    customer: CustomerKey
    lang: str
    consent: bool | None
    csat: int | None
    messages: tuple[StoredMessage, ...]


class Conversations(Protocol):
    """Read access for the sample worker, and what the store knows of its customers' identities."""

    def unprocessed(self, policy_version: str, limit: int) -> list[StoredConversation]:
        """Return closed conversations not yet through ``policy_version``, oldest first."""
        ...

    def mark_processed(self, conversation_ids: Sequence[str], policy_version: str) -> None:
        """Remember that these went through ``policy_version``."""
        ...

    def private_terms(self, customer: CustomerKey) -> tuple[str, ...]:
        """Return the customer's own name, address, phone and so on from the customer table."""
        ...

    def private_intents(self) -> Iterator[tuple[CustomerKey, IntentRow]]:
        """Yield labelled sentences that belong to a customer."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One training text of one customer; ``kind`` is ``reply`` or ``intent``.

    ``prompt`` and ``target`` are in the form of :mod:`shared.prompts`.
    """

    sample_id: str
    customer: CustomerKey
    lang: str
    kind: str
    prompt: DesensitizedText
    target: DesensitizedText
    detector_version: str
    masked_digest: str
    """Keyed digest of what was masked, not the values."""


class Samples(Protocol):
    """Training samples at rest; takes nothing but desensitized text."""

    def add(self, samples: Sequence[Sample]) -> int:
        """Write samples not yet there (by ``sample_id``); return how many were new."""
        ...

    def all(self) -> Iterator[Sample]:
        """Yield every sample in order of customer, then ``sample_id``."""
        ...

    def stats(self) -> Mapping[str, int]:
        """Return counts: ``samples``, ``customers``, and ``lang:<code>``, ``kind:<kind>``."""
        ...

    def forget(self, customer: CustomerKey) -> int:
        """Delete the customer's samples; return how many."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedProduct:
    """A product and where its name stands in a text (characters, end exclusive)."""

    product: CatalogRow
    start: int
    end: int


class Shop(Protocol):
    """Facts of the shop: only these may name a price, a stock or an order."""

    def named_products(self, text: str, lang: str) -> list[NamedProduct]:
        """Return what :meth:`product_named_in` finds with its place, in order of the text."""
        ...

    def product_named_in(self, text: str, lang: str) -> list[CatalogRow]:
        """Return products whose name, or a unique part of it, stands in ``text``; longest first."""
        ...

    def product(self, product_id: str, lang: str | None = None) -> CatalogRow | None:
        """Return a product, named in ``lang`` where the catalogue has that."""
        ...

    def replace_catalog(self, rows: Iterable[CatalogRow]) -> int:
        """Make ``rows`` the catalogue; return how many."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """What a store's training of one round made.

    ``update`` is the adapter after minus before, noised, float32; ``steps`` those that were
    executed.
    """

    update: Arrays
    steps: int
    seconds: float


class LocalTrainer(Protocol):
    """Customer-level DP-SGD on this store's own samples."""

    def train(
        self,
        *,
        spec: AdapterSpec,
        adapter: Arrays,
        mechanism: Mechanism,
        on_step: Callable[[int, int], None],
    ) -> TrainResult:
        """Train ``mechanism.steps`` steps from ``adapter``.

        ``on_step(done, total)`` reports progress.

        Raises:
            Refused: fewer customers than the plan's minimum, or the spec does not fit the base
            model.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatSession:
    """A conversation that a customer (or a visitor) is having with the bot."""

    conversation_id: str
    session_id: str
    customer: CustomerKey
    known: bool
    """The caller named the customer; only then may facts of orders be told."""
    lang: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatMessage:
    """A message of a running chat; ``meta`` holds an answer's sources, intent and so on."""

    message_id: str
    role: str
    content: RawText
    created: datetime
    position: int
    client_id: str
    """What the client called its message, so that sending again does not ask again."""
    meta: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A customer's message that is durable, and its answer where there is one already."""

    message: ChatMessage
    answer: ChatMessage | None


class Dialogues(Protocol):
    """The record of running chats; every call is durable when it returns."""

    def open(self, session_id: str, customer_id: str | None, lang: str) -> ChatSession:
        """Return the session, made if new.

        Raises:
            Refused: the session belongs to someone else.
        """
        ...

    def ask(self, session: ChatSession, content: RawText, client_id: str) -> Asked:
        """Write a customer's message; the same non-empty ``client_id`` again writes nothing."""
        ...

    def answer(
        self,
        session: ChatSession,
        question: ChatMessage,
        content: RawText,
        meta: Mapping[str, Any],
        *,
        lang: str,
        status: str,
    ) -> ChatMessage:
        """Write the answer, the conversation's row and the outbox's row in one transaction."""
        ...

    def before(self, session: ChatSession, position: int, limit: int) -> list[ChatMessage]:
        """Return the last ``limit`` messages before ``position``, oldest first."""
        ...

    def answers_after(self, session: ChatSession, message_id: str) -> list[ChatMessage]:
        """Return the answers after a message, oldest first; all of them for an unknown one."""
        ...


class Orders(Protocol):
    """Orders, each visible to the customer who placed it and to nobody else."""

    def order(self, order_id: str, customer: CustomerKey) -> OrderRow | None:
        """Return the order if it is the customer's own."""
        ...

    def latest(self, customer: CustomerKey, limit: int = 1) -> list[OrderRow]:
        """Return the customer's last orders, newest first."""
        ...


class Labels(Protocol):
    """The intents that this store knows."""

    def labels(self, lang: str) -> tuple[str, ...]:
        """Return the intents with examples in ``lang``, else in any language, sorted."""
        ...

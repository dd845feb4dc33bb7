"""The JSON-lines formats that users hand in: conversations, intents, knowledge, catalogue.

Unknown fields, missing fields and wrong types are errors that name file and line and never quote
the content.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.errors import BadInput

Text = Annotated[str, Field(min_length=1, max_length=100_000)]
Identifier = Annotated[str, Field(min_length=1, max_length=200)]
Lang = Annotated[str, Field(pattern=r"^[a-z]{2,3}$")]


class Row(BaseModel):
    """A line of a file: frozen, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class MessageRow(Row):
    """One turn of a conversation."""

    role: Literal["user", "assistant", "system", "tool"]
    content: str = Field(max_length=100_000)


class ConversationRow(Row):
    """A conversation of one customer; ``consent`` false keeps it out of training."""

    conversation_id: Identifier
    customer_id: Identifier
    lang: Lang
    messages: tuple[MessageRow, ...] = Field(min_length=1, max_length=1000)
    csat: Annotated[int, Field(ge=1, le=10)] | None = None
    consent: bool | None = None


class IntentRow(Row):
    """A customer's sentence with its intent."""

    text: Text
    lang: Lang
    intent: Identifier
    customer_id: Identifier | None = None


class KnowledgeRow(Row):
    """A passage that answers may cite."""

    id: Identifier = Field(alias="_id")
    title: str | None = None
    text: Text
    lang: Lang


class CatalogRow(Row):
    """A product; ``price`` is a decimal string or number in ``currency`` (ISO 4217)."""

    product_id: Identifier
    name: Text
    lang: Lang
    price: Annotated[float, Field(ge=0)]
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    stock: Annotated[int, Field(ge=0)]
    attributes: dict[str, Any] | None = None


class CustomerRow(Row):
    """What a store knows about a customer's identity; never leaves the store."""

    customer_id: Identifier
    name: Text
    lang: Lang
    phone: Annotated[str, Field(max_length=200)] | None = None
    email: Annotated[str, Field(max_length=320)] | None = None
    address: Annotated[str, Field(max_length=2000)] | None = None


class OrderRow(Row):
    """A customer's order of one product; ``placed`` is a date or time in ISO 8601."""

    order_id: Identifier
    customer_id: Identifier
    product_id: Identifier
    quantity: Annotated[int, Field(ge=1)]
    status: Identifier
    placed: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}")]
    carrier: Annotated[str, Field(max_length=200)] | None = None
    tracking: Annotated[str, Field(max_length=200)] | None = None


AnyRow = TypeVar("AnyRow", bound=Row)


def read_rows(path: Path, kind: type[AnyRow]) -> Iterator[AnyRow]:
    """Yield the rows of a JSON-lines file, one line in memory at a time; blank lines are skipped.

    Raises:
        BadInput: the file cannot be read, is not UTF-8, or a line is not a valid row; names file,
        line and field.
    """
    try:
        stream = path.open(encoding="utf-8-sig")
    except OSError as error:
        raise BadInput(
            f"cannot be read: {error.strerror}", where=str(path), remedy="check the path"
        ) from None
    with stream:
        number = 0
        try:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    yield parse_row(line, kind, where=f"{path}:{number}")
        except UnicodeDecodeError:
            raise BadInput(
                "not UTF-8", where=f"{path}:{number + 1}", remedy="save the file as UTF-8"
            ) from None


def parse_row(line: str, kind: type[AnyRow], *, where: str) -> AnyRow:
    """Return one row.

    Raises:
        BadInput: not JSON, or not a valid row; names the field, never its value.
    """
    try:
        value = json.loads(line, parse_constant=_no_number, parse_float=_finite)
    except json.JSONDecodeError as error:
        raise BadInput(
            f"not JSON: {error.msg} at column {error.colno}", where=where, remedy="mend the line"
        ) from None
    except (ValueError, RecursionError):
        raise BadInput(
            "a number is not finite or too long, or brackets are nested too deeply",
            where=where,
            remedy="mend the line",
        ) from None
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "line"
        wanted = ", ".join(f.alias or name for name, f in kind.model_fields.items())
        raise BadInput(
            f"field {field!r}: {first['msg'][:1].lower()}{first['msg'][1:]}",
            where=where,
            remedy=f"the fields are {wanted}",
        ) from None


def _no_number(_name: str) -> float:
    raise ValueError("JSON has no NaN and no Infinity")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("beyond the range of a double")
    return number

"""The store's tables: one schema for SQLite and MySQL.

Identifiers compare byte by byte in both (``utf8mb4_bin``, which MySQL and MariaDB share); moments
are microseconds since 1970 in UTC, because the two disagree about fractions and time zones; long
texts are ``MEDIUMTEXT`` in MySQL.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Moment(sa.types.TypeDecorator[datetime]):
    """An aware ``datetime`` as microseconds since 1970 in UTC."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> int | None:
        """Return the number to write."""
        return None if value is None else (value - _EPOCH) // _MICROSECOND

    def process_result_value(self, value: Any | None, dialect: sa.Dialect) -> datetime | None:  # noqa: ANN401
        """Return the moment that was written."""
        return None if value is None else _EPOCH + int(value) * _MICROSECOND


def _name(length: int = 200) -> sa.types.TypeEngine[str]:
    exact = mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin")
    return sa.String(length).with_variant(exact, "mysql", "mariadb")


def _text() -> sa.types.TypeEngine[str]:
    return sa.Text().with_variant(mysql.MEDIUMTEXT(charset="utf8mb4"), "mysql", "mariadb")


_counter = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""SQLite counts up by itself only in columns of type INTEGER."""
_mysql: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4"}

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

meta = sa.Table(
    "meta",
    metadata,
    sa.Column("name", _name(), primary_key=True),
    sa.Column("value", _text(), nullable=False),
    **_mysql,
)
customers = sa.Table(
    "customers",
    metadata,
    sa.Column("customer", _name(64), primary_key=True),
    sa.Column("created", Moment(), nullable=False),
    **_mysql,
)
customer_private = sa.Table(
    "customer_private",
    metadata,
    sa.Column(
        "customer",
        _name(64),
        sa.ForeignKey("customers.customer", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("customer_id", _name(), nullable=False, unique=True),
    sa.Column("name", _text(), nullable=False),
    sa.Column("lang", _name(8), nullable=False),
    sa.Column("phone", _name()),
    sa.Column("email", _name(320)),
    sa.Column("address", _text()),
    **_mysql,
)
products = sa.Table(
    "products",
    metadata,
    sa.Column("product_id", _name(), primary_key=True),
    sa.Column("lang", _name(8), primary_key=True),
    sa.Column("name", _text(), nullable=False),
    sa.Column("price", sa.Numeric(18, 4, asdecimal=False), nullable=False),
    sa.Column("currency", _name(3), nullable=False),
    sa.Column("stock", sa.BigInteger(), nullable=False),
    sa.Column("attributes", sa.JSON()),
    **_mysql,
)
orders = sa.Table(
    "orders",
    metadata,
    sa.Column("order_id", _name(), primary_key=True),
    sa.Column("customer", _name(64), sa.ForeignKey("customers.customer"), nullable=False),
    sa.Column("product_id", _name(), nullable=False),
    sa.Column("quantity", sa.BigInteger(), nullable=False),
    sa.Column("status", _name(), nullable=False),
    sa.Column("placed", _name(64), nullable=False),
    sa.Column("carrier", _name()),
    sa.Column("tracking", _name()),
    sa.Index("ix_orders_customer_placed", "customer", "placed"),
    **_mysql,
)
conversations = sa.Table(
    "conversations",
    metadata,
    sa.Column("conversation_id", _name(), primary_key=True),
    sa.Column("session_id", _name(), unique=True),
    sa.Column("customer", _name(64), sa.ForeignKey("customers.customer"), nullable=False),
    sa.Column("lang", _name(8), nullable=False),
    sa.Column("status", _name(16), nullable=False),
    sa.Column("consent", sa.Boolean()),
    sa.Column("csat", sa.Integer()),
    sa.Column("created", Moment(), nullable=False),
    sa.Column("updated", Moment(), nullable=False),
    sa.Column("digest", _name(64), nullable=False),
    sa.Column("processed", _name(64), nullable=False),
    sa.Index("ix_conversations_processed_created", "processed", "created"),
    **_mysql,
)
messages = sa.Table(
    "messages",
    metadata,
    sa.Column("message_id", _name(64), primary_key=True),
    sa.Column(
        "conversation_id",
        _name(),
        sa.ForeignKey("conversations.conversation_id", ondelete="CASCADE"),
        nullable=False,
    ),
    sa.Column("position", sa.Integer(), nullable=False),
    sa.Column("role", _name(16), nullable=False),
    sa.Column("content", _text(), nullable=False),
    sa.Column("created", Moment(), nullable=False),
    sa.Column("client_id", _name()),
    sa.Column("reply_to", _name(64)),
    sa.Column("meta", sa.JSON()),
    sa.UniqueConstraint("conversation_id", "position"),
    sa.UniqueConstraint("conversation_id", "client_id"),
    sa.UniqueConstraint("reply_to"),
    **_mysql,
)
intents = sa.Table(
    "intents",
    metadata,
    sa.Column("row_id", _name(64), primary_key=True),
    sa.Column("text", _text(), nullable=False),
    sa.Column("lang", _name(8), nullable=False),
    sa.Column("intent", _name(), nullable=False),
    sa.Column("customer", _name(64), sa.ForeignKey("customers.customer")),
    sa.Index("ix_intents_lang_intent", "lang", "intent"),
    **_mysql,
)
passages = sa.Table(
    "passages",
    metadata,
    sa.Column("document_id", _name(), primary_key=True),
    sa.Column("lang", _name(8), primary_key=True),
    sa.Column("title", _text(), nullable=False),
    sa.Column("text", _text(), nullable=False),
    **_mysql,
)
outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("seq", _counter, primary_key=True, autoincrement=True),
    sa.Column("kind", _name(64), nullable=False),
    sa.Column("ref", _name(), nullable=False),
    sa.Column("created", Moment(), nullable=False),
    sa.Column("done", Moment()),
    sa.Index("ix_outbox_done_seq", "done", "seq"),
    **_mysql,
)
samples = sa.Table(
    "samples",
    metadata,
    sa.Column("sample_id", _name(), primary_key=True),
    sa.Column("customer", _name(64), nullable=False),
    sa.Column("lang", _name(8), nullable=False),
    sa.Column("kind", _name(32), nullable=False),
    sa.Column("prompt", _text(), nullable=False),
    sa.Column("target", _text(), nullable=False),
    sa.Column("policy_version", _name(64), nullable=False),
    sa.Column("detector_version", _name(64), nullable=False),
    sa.Column("masked_digest", _name(128), nullable=False),
    sa.Index("ix_samples_customer_sample_id", "customer", "sample_id"),
    **_mysql,
)

"""The first schema: shop, conversations, knowledge, samples, outbox."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_MYSQL: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4"}


def _name(length: int) -> sa.types.TypeEngine[str]:
    exact = mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin")
    return sa.String(length).with_variant(exact, "mysql", "mariadb")


def _text() -> sa.types.TypeEngine[str]:
    return sa.Text().with_variant(mysql.MEDIUMTEXT(charset="utf8mb4"), "mysql", "mariadb")


def upgrade() -> None:
    """Apply this step."""
    op.create_table(
        "customers",
        sa.Column("customer", _name(64), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("customer", name=op.f("pk_customers")),
        **_MYSQL,
    )
    op.create_table(
        "meta",
        sa.Column("name", _name(200), nullable=False),
        sa.Column("value", _text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_meta")),
        **_MYSQL,
    )
    op.create_table(
        "outbox",
        sa.Column(
            "seq",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("kind", _name(64), nullable=False),
        sa.Column("ref", _name(200), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("done", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_outbox")),
        **_MYSQL,
    )
    op.create_index("ix_outbox_done_seq", "outbox", ["done", "seq"], unique=False)
    op.create_table(
        "passages",
        sa.Column("document_id", _name(200), nullable=False),
        sa.Column("lang", _name(8), nullable=False),
        sa.Column("title", _text(), nullable=False),
        sa.Column("text", _text(), nullable=False),
        sa.PrimaryKeyConstraint("document_id", "lang", name=op.f("pk_passages")),
        **_MYSQL,
    )
    op.create_table(
        "products",
        sa.Column("product_id", _name(200), nullable=False),
        sa.Column("lang", _name(8), nullable=False),
        sa.Column("name", _text(), nullable=False),
        sa.Column("price", sa.Numeric(precision=18, scale=4, asdecimal=False), nullable=False),
        sa.Column("currency", _name(3), nullable=False),
        sa.Column("stock", sa.BigInteger(), nullable=False),
        sa.Column("attributes", sa.JSON(), nullable=True),
        sa.PrimaryKeyConstraint("product_id", "lang", name=op.f("pk_products")),
        **_MYSQL,
    )
    op.create_table(
        "samples",
        sa.Column("sample_id", _name(200), nullable=False),
        sa.Column("customer", _name(64), nullable=False),
        sa.Column("lang", _name(8), nullable=False),
        sa.Column("kind", _name(32), nullable=False),
        sa.Column("prompt", _text(), nullable=False),
        sa.Column("target", _text(), nullable=False),
        sa.Column("policy_version", _name(64), nullable=False),
        sa.Column("detector_version", _name(64), nullable=False),
        sa.Column("masked_digest", _name(128), nullable=False),
        sa.PrimaryKeyConstraint("sample_id", name=op.f("pk_samples")),
        **_MYSQL,
    )
    op.create_index(
        "ix_samples_customer_sample_id", "samples", ["customer", "sample_id"], unique=False
    )
    op.create_table(
        "conversations",
        sa.Column("conversation_id", _name(200), nullable=False),
        sa.Column("session_id", _name(200), nullable=True),
        sa.Column("customer", _name(64), nullable=False),
        sa.Column("lang", _name(8), nullable=False),
        sa.Column("status", _name(16), nullable=False),
        sa.Column("consent", sa.Boolean(), nullable=True),
        sa.Column("csat", sa.Integer(), nullable=True),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("updated", sa.BigInteger(), nullable=False),
        sa.Column("digest", _name(64), nullable=False),
        sa.Column("processed", _name(64), nullable=False),
        sa.ForeignKeyConstraint(
            ["customer"], ["customers.customer"], name=op.f("fk_conversations_customer_customers")
        ),
        sa.PrimaryKeyConstraint("conversation_id", name=op.f("pk_conversations")),
        sa.UniqueConstraint("session_id", name=op.f("uq_conversations_session_id")),
        **_MYSQL,
    )
    op.create_index(
        "ix_conversations_processed_created",
        "conversations",
        ["processed", "created"],
        unique=False,
    )
    op.create_table(
        "customer_private",
        sa.Column("customer", _name(64), nullable=False),
        sa.Column("customer_id", _name(200), nullable=False),
        sa.Column("name", _text(), nullable=False),
        sa.Column("lang", _name(8), nullable=False),
        sa.Column("phone", _name(200), nullable=True),
        sa.Column("email", _name(320), nullable=True),
        sa.Column("address", _text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["customer"],
            ["customers.customer"],
            name=op.f("fk_customer_private_customer_customers"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("customer", name=op.f("pk_customer_private")),
        sa.UniqueConstraint("customer_id", name=op.f("uq_customer_private_customer_id")),
        **_MYSQL,
    )
    op.create_table(
        "intents",
        sa.Column("row_id", _name(64), nullable=False),
        sa.Column("text", _text(), nullable=False),
        sa.Column("lang", _name(8), nullable=False),
        sa.Column("intent", _name(200), nullable=False),
        sa.Column("customer", _name(64), nullable=True),
        sa.ForeignKeyConstraint(
            ["customer"], ["customers.customer"], name=op.f("fk_intents_customer_customers")
        ),
        sa.PrimaryKeyConstraint("row_id", name=op.f("pk_intents")),
        **_MYSQL,
    )
    op.create_index("ix_intents_lang_intent", "intents", ["lang", "intent"], unique=False)
    op.create_table(
        "orders",
        sa.Column("order_id", _name(200), nullable=False),
        sa.Column("customer", _name(64), nullable=False),
        sa.Column("product_id", _name(200), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("status", _name(200), nullable=False),
        sa.Column("placed", _name(64), nullable=False),
        sa.Column("carrier", _name(200), nullable=True),
        sa.Column("tracking", _name(200), nullable=True),
        sa.ForeignKeyConstraint(
            ["customer"], ["customers.customer"], name=op.f("fk_orders_customer_customers")
        ),
        sa.PrimaryKeyConstraint("order_id", name=op.f("pk_orders")),
        **_MYSQL,
    )
    op.create_index("ix_orders_customer_placed", "orders", ["customer", "placed"], unique=False)
    op.create_table(
        "messages",
        sa.Column("message_id", _name(64), nullable=False),
        sa.Column("conversation_id", _name(200), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("role", _name(16), nullable=False),
        sa.Column("content", _text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("client_id", _name(200), nullable=True),
        sa.Column("reply_to", _name(64), nullable=True),
        sa.Column("meta", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(
            ["conversation_id"],
            ["conversations.conversation_id"],
            name=op.f("fk_messages_conversation_id_conversations"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_messages")),
        sa.UniqueConstraint(
            "conversation_id", "client_id", name=op.f("uq_messages_conversation_id_client_id")
        ),
        sa.UniqueConstraint(
            "conversation_id", "position", name=op.f("uq_messages_conversation_id_position")
        ),
        sa.UniqueConstraint("reply_to", name=op.f("uq_messages_reply_to")),
        **_MYSQL,
    )


def downgrade() -> None:
    """Take this step back."""
    op.drop_table("messages")
    op.drop_index("ix_orders_customer_placed", table_name="orders")
    op.drop_table("orders")
    op.drop_index("ix_intents_lang_intent", table_name="intents")
    op.drop_table("intents")
    op.drop_table("customer_private")
    op.drop_index("ix_conversations_processed_created", table_name="conversations")
    op.drop_table("conversations")
    op.drop_index("ix_samples_customer_sample_id", table_name="samples")
    op.drop_table("samples")
    op.drop_table("products")
    op.drop_table("passages")
    op.drop_index("ix_outbox_done_seq", table_name="outbox")
    op.drop_table("outbox")
    op.drop_table("meta")
    op.drop_table("customers")

"""The Flower ClientApp: decodes, calls the store's federation service, encodes."""

from pathlib import Path

from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from shared.adapters import Arrays
from shared.wire.names import ARRAYS, BODY, ENVELOPE, PROPOSE, WITHDRAW
from store_node.federation.service import FederationService
from store_node.wiring_federation import build_federation

app = ClientApp()


@app.query(PROPOSE)
def propose(message: Message, context: Context) -> Message:
    """Answer a proposal."""
    return _reply(message, _service(context).handle_proposal(_body(message)))


@app.query(WITHDRAW)
def withdraw(message: Message, context: Context) -> Message:
    """Answer a withdrawal."""
    return _reply(message, _service(context).handle_withdrawal(_body(message)))


@app.train()
def train(message: Message, context: Context) -> Message:
    """Train one round."""
    record = message.content.array_records.get(ARRAYS, ArrayRecord())
    arrays = {name: array.numpy() for name, array in record.items()}
    receipt, update = _service(context).handle_train(_body(message), arrays)
    return _reply(message, receipt, update)


def _service(context: Context) -> FederationService:
    return build_federation(Path(str(context.node_config["home"])))


def _body(message: Message) -> bytes:
    record = message.content.config_records.get(ENVELOPE, ConfigRecord())
    body = record.get(BODY, b"")
    return body if isinstance(body, bytes) else b""


def _reply(message: Message, body: bytes, arrays: Arrays | None = None) -> Message:
    content = RecordDict({ENVELOPE: ConfigRecord({BODY: body})})
    if arrays:
        content[ARRAYS] = ArrayRecord({name: Array(value) for name, value in arrays.items()})
    return Message(content, reply_to=message)

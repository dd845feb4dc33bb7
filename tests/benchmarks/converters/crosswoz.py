"""CrossWOZ (zh): human service dialogues about travel, and the entities they speak of.

Customer: one dialogue is one customer, since the speakers are not named. Only one file of
dialogues is small enough to be here, so a fifth, chosen by the hash of the id, goes to the gate.
The entities become passages of the knowledge base; long lists are cut at ten names.
"""

from collections.abc import Iterator
from pathlib import Path

from shared.formats import ConversationRow, KnowledgeRow
from tests.benchmarks.converters.layout import Limits, Store, clean, dialogue, held_back, write
from tests.benchmarks.converters.source import need, rows

FOLDER = "crosswoz_zh"
GATE_SHARE = 0.2
_LONGEST_LIST = 10


def convert(source: Path, out: Path, *, limits: Limits | None = None) -> Store:
    """Write the store ``crosswoz`` and its gate to ``out``."""
    store = read(source, limits=limits or Limits())
    write(out, [store])
    return store


def read(source: Path, *, limits: Limits) -> Store:
    """Return the store ``crosswoz``.

    Raises:
        Unavailable: a file of the set is missing.
    """
    talks = tuple(_conversations(need(source, FOLDER, "dialogues.dev.jsonl"), limits))
    kept = [row for row in talks if not held_back(row.conversation_id, share=GATE_SHARE)]
    gate = [row for row in talks if held_back(row.conversation_id, share=GATE_SHARE)]
    return Store(
        id="crosswoz",
        name="CrossWOZ",
        lang="zh",
        unit="one dialogue",
        currency="CNY",
        timezone="Asia/Shanghai",
        knowledge=tuple(_entities(need(source, FOLDER, "kb.jsonl"))),
        conversations=tuple(kept[: limits.store_rows or None]),
        gate_conversations=tuple(gate[: limits.gate_rows or None]),
    )


def _conversations(path: Path, limits: Limits) -> Iterator[ConversationRow]:
    for row in rows(path):
        turns = [(m["role"], m["content"]) for m in row["messages"]]
        messages = dialogue(turns, max_chars=limits.max_chars)
        if messages:
            yield ConversationRow(
                conversation_id=f"crosswoz-{row['id']}",
                customer_id=f"crosswoz-c{row['id']}",
                lang="zh",
                messages=messages,
                consent=True,
            )


def _entities(path: Path) -> Iterator[KnowledgeRow]:
    for row in rows(path):
        facts = [f"{name}：{_value(value)}" for name, value in row["fields"].items() if value]
        text = clean("；".join(facts))
        passage = {"_id": row["_id"], "title": row["title"], "text": text, "lang": "zh"}
        yield KnowledgeRow.model_validate(passage)


def _value(value: object) -> str:
    if isinstance(value, list):
        return "、".join(str(item) for item in value[:_LONGEST_LIST])
    return str(value)

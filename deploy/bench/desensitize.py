"""Desensitization: texts a second in one process."""

import re
import secrets
from itertools import islice
from pathlib import Path
from typing import Any

from deploy.bench.measure import at_least, medians, result, seconds
from deploy.world.generate import DEFAULT_STORES
from deploy.world.shop import build
from deploy.world.texts import store as store_texts
from shared.errors import BadInput
from shared.formats import ConversationRow, read_rows
from shared.text import RawText
from store_node.samples.desensitize import Desensitizer

_SEED = 7
_DIGITS = {ord(digit): "0" for digit in "123456789"}
_SIMPLE = re.compile(r"[\w.+-]+@[\w-]+\.[\w.]+|https?://\S+|\+?\d[\d ()-]{5,}\d")


def measure_desensitize(*, data: Path | None, texts: int, repeats: int) -> dict[str, Any]:
    """Mask ``texts`` texts, of a conversations file or of the synthetic world's four languages."""
    at_least(1, texts=texts, repeats=repeats)
    rows = _of_file(data, texts) if data else _of_world(texts)
    desensitizer = Desensitizer(secrets.token_bytes(32))
    masked = 0

    def ours() -> None:
        nonlocal masked
        masked = sum(
            len(desensitizer.desensitize(text, lang, conversation_key="bench")[1])
            for lang, text in rows
        )

    def plain() -> None:
        for _, text in rows:
            _SIMPLE.sub("#", text).translate(_DIGITS)

    first = seconds(ours)  # loads the word lists
    took = medians({"ours": ours, "plain": plain}, repeats)
    size = sum(len(text.encode()) for _, text in rows)
    return result(
        "desensitize",
        size={
            "texts": len(rows),
            "bytes": size,
            "languages": sorted({lang for lang, _ in rows}),
            "source": "file" if data else "synthetic",
            "masked_spans": masked,
            "repeats": repeats,
            "figure_is": "Desensitizer.desensitize, one process, median; first_pass_s is the "
            "first pass, which loads the word lists",
            "yardstick_is": "one regular expression and str.translate over the same texts",
        },
        figure={
            "texts_per_s": len(rows) / took["ours"],
            "mb_per_s": size / took["ours"] / 1e6,
            "first_pass_s": first,
        },
        yardstick={
            "texts_per_s": len(rows) / took["plain"],
            "mb_per_s": size / took["plain"] / 1e6,
        },
    )


def _of_file(path: Path, count: int) -> list[tuple[str, RawText]]:
    found = (
        (row.lang, RawText(message.content))
        for row in read_rows(path, ConversationRow)
        for message in row.messages
    )
    rows = list(islice(found, count))
    if not rows:
        raise BadInput("no conversation in it", where=str(path), remedy="give a file with rows")
    return rows


def _of_world(count: int) -> list[tuple[str, RawText]]:
    """Return texts of all the world's stores in turn."""
    each = -(-count // len(DEFAULT_STORES))
    rows: list[tuple[str, RawText]] = []
    for name in DEFAULT_STORES:
        shop = build(store_texts(name), seed=_SEED, customers=each)
        found = (
            (shop.lang, RawText(message.content))
            for row in shop.conversations
            for message in row.messages
        )
        rows += islice(found, each)
    return rows[:count]

"""Where the public sets lie, and how to get the ones that are missing."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from shared.errors import BadInput, Unavailable

ORIGINS: Mapping[str, str] = MappingProxyType(
    {
        "tau_retail_en": "https://github.com/sierra-research/tau-bench (tau_bench/envs/retail)",
        "eshop_support": "https://github.com/dotnet/eShopSupport (seeddata)",
        "crosswoz_zh": "https://github.com/thu-coai/CrossWOZ (data/crosswoz)",
        "xsid07": "https://github.com/mainlp/xsid (data/xSID-0.7)",
        "banking77_en_ar": "https://github.com/PolyAI-LDN/task-specific-datasets and "
        "https://github.com/SinaLab/ArBanking77",
        "bitext_cs_en": "https://github.com/bitext/customer-support-llm-chatbot-training-dataset",
        "xquad_kb": "https://github.com/google-deepmind/xquad",
    }
)
"""The repositories that the folders were extracted from."""


def data_root() -> Path:
    """Return the folder of public sets: ``STOREWEAVE_DATA``, or ``../shared/data`` beside us."""
    named = os.environ.get("STOREWEAVE_DATA")
    return Path(named) if named else Path(__file__).parents[4] / "shared" / "data"


def need(source: Path, folder: str, name: str) -> Path:
    """Return the path of one file of a set.

    Raises:
        Unavailable: it is not there; says where to get it.
    """
    path = source / folder / name
    if not path.is_file():
        raise Unavailable(
            f"public data set {folder} lacks {name}",
            where=str(path),
            remedy=f"extract it from {ORIGINS[folder]}, or point STOREWEAVE_DATA at a folder "
            "that has it",
        )
    return path


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON-lines file.

    Raises:
        BadInput: a line is not JSON; names it.
    """
    with path.open(encoding="utf-8") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                yield json.loads(line)
            except json.JSONDecodeError as error:
                raise BadInput(
                    f"not JSON: {error.msg}", where=f"{path}:{number}", remedy="extract it again"
                ) from None


def table(path: Path) -> dict[str, dict[str, Any]]:
    """Return a JSON file that holds one object of objects."""
    found: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return found

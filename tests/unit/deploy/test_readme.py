"""Both READMEs name the settings, formats and exit codes that the code has, and nothing else."""

import json
import re
from pathlib import Path

import pytest

from shared import formats
from shared.config import Settings
from shared.exit_codes import ExitCode

ROOT = Path(__file__).parents[3]
READMES = ("README.md", "README.zh-CN.md")
KINDS = {
    "conversations": formats.ConversationRow,
    "intents": formats.IntentRow,
    "knowledge": formats.KnowledgeRow,
    "catalog": formats.CatalogRow,
    "customers": formats.CustomerRow,
    "orders": formats.OrderRow,
}


def rows(name: str) -> list[list[str]]:
    lines = (ROOT / name).read_text("utf-8").splitlines()
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if "|" in line
    ]


def shown(value: object) -> set[str]:
    if value is None:
        return {"none", "无"}
    return {f"`{json.dumps(list(value) if isinstance(value, tuple) else value)}`"}


@pytest.mark.parametrize("name", READMES)
def test_the_table_of_settings_is_that_of_the_code(name: str) -> None:
    found = {
        row[0].strip("`"): row[1]
        for row in rows(name)
        if re.fullmatch(r"`[a-z]+\.[a-z_0-9]+`", row[0])
    }
    wanted = {
        f"{section}.{key}": shown(field.default)
        for section, table in Settings.model_fields.items()
        for key, field in type(table.default).model_fields.items()
    }
    assert set(found) == set(wanted)
    assert {key: value for key, value in found.items() if value not in wanted[key]} == {}


@pytest.mark.parametrize("name", READMES)
def test_the_example_of_every_format_is_read_and_every_field_is_named(name: str) -> None:
    seen = set()
    for row in rows(name):
        kind = row[0].strip("`")
        if kind in KINDS and row[-1].startswith("`{"):
            formats.parse_row(row[-1].strip("`"), KINDS[kind], where=kind)
            fields = {field.alias or key for key, field in KINDS[kind].model_fields.items()}
            assert set(re.findall(r"`([a-z_]+)`", row[1])) - {"false"} == fields
            seen.add(kind)
    assert seen == set(KINDS)


@pytest.mark.parametrize("name", READMES)
def test_every_exit_code_is_told(name: str) -> None:
    told = {int(row[0]) for row in rows(name) if row[0].isdigit()}
    assert told == {int(code) for code in ExitCode}

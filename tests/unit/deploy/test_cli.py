"""The entry: options anywhere, one line for every error, and the documented exit codes."""

import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer

from deploy import cli
from deploy.cli_context import Context, context_of
from shared.errors import BadConfig, BudgetRefused, StoreWeaveError
from shared.exit_codes import ExitCode

PRIVATE = "Mrs Private of 1 High Street"


def _probe_app() -> typer.Typer:
    app = typer.Typer()

    @app.command("show")
    def show(ctx: typer.Context, text: str = "") -> None:
        context = context_of(ctx)
        context.console.print("working")
        context.answer({"home": str(context.home), "text": text}, f"text {text}")

    @app.command("refuse")
    def refuse() -> None:
        raise BudgetRefused("over the cap", where="leeds", remedy="wait", left=0.25)

    @app.command("crash")
    def crash() -> None:
        try:
            raise KeyError(PRIVATE)
        except KeyError as error:
            raise ValueError(PRIVATE) from error

    @app.command("stop")
    def stop() -> None:
        raise KeyboardInterrupt

    @app.command("leave")
    def leave() -> None:
        raise typer.Exit(3)

    return app


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STOREWEAVE_HOME", str(tmp_path))
    module = SimpleNamespace(app=_probe_app())
    monkeypatch.setitem(sys.modules, "tests_probe_command", module)
    entry = cli.Entry(help="A command of the tests.", modules=("tests_probe_command",))
    monkeypatch.setattr(cli.Entry, "present", property(lambda self: self.modules))
    monkeypatch.setattr(cli, "ENTRIES", {"probe": entry})
    return tmp_path


def last_line(text: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(text.splitlines()[-1])
    return found


@pytest.mark.parametrize(
    "words",
    [
        ["--json", "probe", "show", "--text", "x"],
        ["probe", "--json", "show", "--text", "x"],
        ["probe", "show", "--text", "x", "--json"],
    ],
)
def test_json_may_stand_anywhere(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(words) == ExitCode.OK
    out = capsys.readouterr()
    assert last_line(out.out)["text"] == "x"
    assert out.out.count("\n") == 1
    assert "working" in out.err


def test_people_get_text_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["probe", "show", "--text", "x"]) == ExitCode.OK
    assert capsys.readouterr().out == "text x\n"


@pytest.mark.parametrize("form", [["--home", "{}"], ["--home={}"]])
def test_home_may_be_named_after_the_command(
    form: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    words = [word.format(other) for word in form]
    assert cli.run(["probe", "show", *words, "--json"]) == ExitCode.OK
    assert last_line(capsys.readouterr().out)["home"] == str(other)


def test_nothing_after_two_dashes_is_taken() -> None:
    assert cli.hoist(["store", "ask", "--", "--json"]) == ["store", "ask", "--", "--json"]
    assert cli.hoist(["a", "--config", "f", "b", "--json"]) == ["--config", "f", "--json", "a", "b"]


def test_our_errors_are_one_line_with_their_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["probe", "refuse"]) == ExitCode.REFUSED
    out = capsys.readouterr()
    assert out.err == "leeds: over the cap — wait\n"
    assert out.out == ""
    assert cli.run(["probe", "refuse", "--json"]) == ExitCode.REFUSED
    error = last_line(capsys.readouterr().out)["error"]
    assert isinstance(error, dict)
    assert (error["code"], error["facts"]) == ("budget_refused", {"left": 0.25})


def test_a_crash_says_where_and_never_what_was_said(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["probe", "crash"]) == ExitCode.FAILURE
    out = capsys.readouterr()
    assert out.err.count("\n") == 1
    assert "unexpected ValueError" in out.err
    logs = list((home / "logs").glob("crash-*.log"))
    assert len(logs) == 1
    assert str(logs[0]) in out.err
    text = logs[0].read_text("utf-8")
    assert "in crash" in text
    assert "builtins.KeyError" in text
    assert PRIVATE not in text + out.err + out.out


def test_interrupts_and_exits_keep_their_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["probe", "stop"]) == ExitCode.INTERRUPTED
    assert "run it again" in capsys.readouterr().err
    assert cli.run(["probe", "leave"]) == 3


@pytest.mark.parametrize(
    "words", [["nope"], ["probe", "nope"], ["probe", "show", "--nope"], ["--nope"]]
)
def test_usage_errors_are_one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(words) == ExitCode.USAGE
    out = capsys.readouterr()
    assert out.err.count("\n") == 1
    assert "--help" in out.err
    assert cli.run([*words, "--json"]) == ExitCode.USAGE
    assert "error" in last_line(capsys.readouterr().out)


def test_a_broken_configuration_is_named_but_help_still_comes(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "storeweave.toml").write_text("[nothing]\n")
    assert cli.run(["probe", "show"]) == ExitCode.BAD_CONFIG
    assert "storeweave.toml" in capsys.readouterr().err
    assert cli.run(["probe", "show", "--help"]) == ExitCode.OK
    assert "--config FILE" in capsys.readouterr().out


def test_a_command_without_the_entry_says_so() -> None:
    ctx = typer.Context(typer.main.get_command(_probe_app()))
    with pytest.raises(BadConfig, match="storeweave"):
        context_of(ctx)


def test_help_is_fast_and_heavy_libraries_stay_away() -> None:
    code = (
        "import sys; from deploy import cli; code = cli.run(['--help']);"
        "heavy = {'torch', 'transformers', 'flwr', 'numpy', 'fastapi'} & set(sys.modules);"
        "sys.exit(code or (f'imported {heavy}' if heavy else 0))"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert time.perf_counter() - start < 10
    for name in ("store", "hq", "audit"):
        assert name in done.stdout


def test_loading_every_command_imports_no_model_library() -> None:
    code = (
        "import sys; from deploy import cli;"
        "loaded = [cli.load(n, e) for n, e in cli.ENTRIES.items() if e.present];"
        "heavy = {'torch', 'transformers', 'flwr'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy or len(loaded) < 3 else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("value", [float("nan"), object()])
def test_what_is_no_json_is_never_printed(value: object, tmp_path: Path) -> None:
    context = Context(settings=None, home=tmp_path, json=True)  # type: ignore[arg-type]
    with pytest.raises((ValueError, TypeError)):
        context.emit({"x": value})


def test_errors_keep_one_line_whatever_they_hold(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(**_: object) -> None:
        raise StoreWeaveError("two\nlines")

    monkeypatch.setattr(cli, "make_context", explode)
    assert cli.run(["probe", "show"]) == ExitCode.FAILURE
    assert capsys.readouterr().err == "two lines\n"

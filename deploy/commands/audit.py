"""``storeweave audit``: export a privacy ledger, and verify an exported one with nothing else."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.cli_context import Context, context_of
from shared.errors import BadInput
from shared.exit_codes import ExitCode

if TYPE_CHECKING:
    from shared.privacy.verify import Report

app = typer.Typer(no_args_is_help=True, help="Export and verify privacy ledgers.")

_KEY_HEX = 64


def _check_owner(context: Context, owner: str, of: str) -> None:
    """Raise ``BadInput`` unless ``--of`` means the ledger in this home."""
    of_hq = of == "hq" and not context.settings.store.id
    if of not in {"", owner} and not of_hq:
        raise BadInput(
            f"this home holds the ledger of {owner!r}, not of {of!r}",
            where=str(context.home),
            remedy="set STOREWEAVE_HOME to the home whose ledger you want",
        )


@app.command("export")
def export(
    ctx: typer.Context,
    out: Annotated[Path, typer.Argument(help="Where to write; one self-contained file.")],
    of: Annotated[str, typer.Option(help="Whose ledger: hq, or a store's id.")] = "",
) -> None:
    """Write this home's ledger as one file that anyone can verify, with public keys."""
    from shared.clock import SystemClock
    from shared.keys import SigningKey
    from shared.privacy.ledger import Ledger, ledger_owner

    context = context_of(ctx)
    path, key_path = context.home / "ledger.db", context.home / "keys" / "ledger.key"
    for needed in (path, key_path):
        if not needed.is_file():
            raise BadInput(
                "there is no ledger in this home yet" if needed == path else "its key is missing",
                where=str(needed),
                remedy="check STOREWEAVE_HOME; a ledger begins with the first plan",
            )
    owner = ledger_owner(path)
    _check_owner(context, owner, of)
    key = SigningKey.load_or_create(key_path)
    with Ledger.open(path, owner=owner, key=key, clock=SystemClock()) as ledger:
        head = ledger.export(out)
    facts = {"out": str(out), "owner": owner, "entries": head.length, "head": head.hash}
    context.answer(
        {**facts, "key": head.key},
        f"{head.length} entries of {owner} in {out}\nhead {head.hash}\nkey  {head.key}",
    )


@app.command("verify")
def verify(
    ctx: typer.Context,
    ledger: Annotated[Path, typer.Argument(help="An exported ledger.")],
    key: Annotated[
        list[str] | None,
        typer.Option(help="OWNER=HEX: a public key known from elsewhere; may be repeated."),
    ] = None,
    against: Annotated[
        list[Path] | None,
        typer.Option(help="A counterpart's export; the heads that it noted must be in LEDGER."),
    ] = None,
) -> None:
    """Check chain, signatures, parameters and every epsilon of an exported ledger."""
    from shared.privacy.verify import noted_heads, verify_file

    context = context_of(ctx)
    noted = [head for path in against or () for head in noted_heads(path)]
    report = verify_file(ledger, trusted=_trusted(key or ()), noted=noted)
    if context.json:
        context.emit(report.as_dict())
    else:
        _show(report)
    if not report.ok:
        raise typer.Exit(int(ExitCode.NOT_VERIFIED))


def _trusted(pairs: Sequence[str]) -> Mapping[str, str]:
    """Return owner to key of ``OWNER=HEX`` words; ``BadInput`` names a wrong one."""
    keys: dict[str, str] = {}
    for pair in pairs:
        owner, sep, text = pair.rpartition("=")
        if not sep or not owner or len(text) != _KEY_HEX or set(text) - set("0123456789abcdef"):
            raise BadInput(
                f"{pair!r} is not OWNER=HEX",
                where="--key",
                remedy="give the owner's id, '=', and 64 hexadecimal digits",
            )
        keys[owner] = text
    return keys


def _caps(privacy: Mapping[str, object]) -> str:
    """Return a policy's promise in words; a ledger is only as strict as the policy it names."""
    return (
        f"epsilon at most {privacy.get('quarter_epsilon')} a quarter and "
        f"{privacy.get('year_epsilon')} a year, delta at most {privacy.get('max_delta')}, "
        f"sigma at least {privacy.get('min_sigma')}, "
        f"{privacy.get('min_customers')} customers or more"
    )


def _show(report: "Report") -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(file=sys.stdout, highlight=False)
    trust = "known" if report.key_trusted else "as the file names it; pass --key to pin it"
    console.print(f"ledger of {escape(report.owner)}: {report.entries} entries", soft_wrap=True)
    console.print(f"head {report.head}", soft_wrap=True)
    console.print(f"key  {report.key} ({trust})", soft_wrap=True)
    for policy in report.policies:
        console.print(f"policy {policy['digest'][:12]}: {escape(_caps(policy['privacy']))}")
    spent = Table(title="spent per customer (add-or-remove-one)")
    for name in ("cohort", "in", "epsilon (PLD)", "epsilon (RDP)", "delta", "rounds"):
        spent.add_column(name)
    for cohort in report.cohorts:
        states = ", ".join(f"{n} {state}" for state, n in sorted(cohort["reservations"].items()))
        for row in cohort["spent"]:
            spent.add_row(
                escape(cohort["cohort"]),
                row["span"],
                f"{row['pld']:.4f}",
                f"{row['rdp']:.4f}",
                f"{row['delta']:.3g}",
                states,
            )
    if report.cohorts:
        console.print(spent)
    if report.ok:
        console.print("verified: nothing is wrong")
        return
    found = Table(title=f"{len(report.violations)} violations")
    for name in ("entry", "rule", "evidence"):
        found.add_column(name)
    for violation in report.violations:
        where = str(violation.entry) if violation.entry else "file"
        found.add_row(where, violation.rule, escape(violation.evidence))
    console.print(found)

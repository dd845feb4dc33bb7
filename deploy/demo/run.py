"""The demo: a whole federation on this machine, from raw conversations to a released model."""

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from deploy.demo.layout import (
    GATE_FILES,
    HQ_DATA,
    TUNING_FILE,
    Layout,
    Ports,
    Question,
    StoreData,
    choose_questions,
    read_stores,
    write_keys,
    write_settings,
)
from deploy.demo.site import Site, environment, program
from deploy.demo.stages import Notes, Stages
from deploy.demo.talk import Crowd, Operator, ask_all
from deploy.invitation import invite, join
from deploy.world import generate
from shared.config import Settings, load_settings
from shared.errors import BudgetRefused, Refused, Unavailable
from shared.hashing import digest_file
from shared.keys import SigningKey
from shared.privacy.ledger import ledger_owner
from shared.privacy.verify import Report, noted_heads, verify_file
from store_node.adapters.imports import ImportKind
from store_node.wiring import opened

CUSTOMERS = 330
FAST_CUSTOMERS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the user asked for."""

    home: Path
    settings: Settings
    data: Path | None
    fast: bool
    fresh: bool
    seed: int


@dataclass(slots=True, kw_only=True)
class Found:
    """What the demo found out, filled stage by stage; the report is made from it."""

    stores: list[StoreData] = field(default_factory=list)
    base: dict[str, Any] = field(default_factory=dict)
    samples: dict[str, dict[str, Any]] = field(default_factory=dict)
    questions: list[Question] = field(default_factory=list)
    before: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)
    plan: dict[str, Any] = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=dict)
    budget: list[dict[str, Any]] = field(default_factory=list)
    ledgers: list[Report] = field(default_factory=list)
    release: dict[str, Any] = field(default_factory=dict)
    rollout: list[dict[str, Any]] = field(default_factory=list)
    crowd: dict[str, int] = field(default_factory=dict)
    dropped: int = 0
    failures: list[str] = field(default_factory=list)
    peak_bytes: int = 0


class Demo:
    """Runs the stages in order; :attr:`found` holds what they found."""

    def __init__(self, wanted: Wanted, console: Console) -> None:
        self.wanted = wanted
        self.layout = Layout(root=wanted.home / "demo")
        self.console = console
        self.stages = Stages(console)
        self.found = Found()
        self._sections = sections(wanted)

    def prepare(self) -> Ports:
        """Make data, homes, keys and samples; nothing listens yet. Done work is not done again."""
        if self.wanted.fresh:
            shutil.rmtree(self.layout.root, ignore_errors=True)
        self.layout.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        model = self._begin_model()
        try:
            with self.stages.stage("data") as note:
                data = self._data(note)
            ports = Ports.choose()
            with self.stages.stage("install") as note:
                self._install(ports, note)
            with self.stages.stage("import") as note:
                self._each_store(self._import, note)
            with self.stages.stage("samples") as note:
                self._each_store(self._desensitize, note, at_once=2)
            with self.stages.stage("model") as note:
                self._end_model(model, note)
        finally:
            if model.poll() is None:
                model.kill()
        write_settings(
            self.layout, self.found.stores, ports, self.found.base["folder"], self._sections
        )
        self.found.questions = choose_questions(data, self.found.stores)
        return ports

    def learn(self, site: Site, operator: Operator) -> None:
        """Ask, plan, run, verify."""
        urls = {s.store_id: site.store_url(s.store_id) for s in self.found.stores}
        with self.stages.stage("baseline"):
            self.found.before = asyncio.run(ask_all(urls, self.found.questions))
        run_id = self._plan(operator)
        with self.stages.stage("rounds") as note:
            operator.post(
                "/v1/runs", {"run_id": run_id, "resume": self._cut_short(operator, run_id)}
            )
            self.found.run = operator.follow_run(run_id, lambda event: note(in_words(event)))
            note(f"{closed_rounds(run_id, self.found.run['outcomes'])} rounds closed")
        self.verify()
        self.found.budget = operator.get("/v1/budget")["budget"]

    def release(self, site: Site, operator: Operator) -> None:
        """Build, gate, push under load, ask again. A closed gate ends it without a push."""
        with self.stages.stage("build") as note:
            job = operator.post("/v1/releases", {"run_id": self.found.run["run_id"]})
            done = operator.follow_job(job, lambda event: note(in_words(event)))
            release_id = (
                done["result"].get("release_id")
                or done["error"].get("facts", {}).get("release_id")
                or done["error"].get("facts", {}).get("release")
            )
            if release_id:
                self.found.release = operator.get(f"/v1/releases/{release_id}")["release"]
            if done["state"] != "done":
                self.found.failures.append(str(done["error"].get("message", "the build failed")))
                note(f"[red]{self.found.failures[-1]}[/red]")
                return
            note(release_id)
        urls = {s.store_id: site.store_url(s.store_id) for s in self.found.stores}
        with self.stages.stage("rollout") as note:
            first = self.found.stores[0].store_id
            mine = [q.text for q in self.found.questions if q.store_id == first]
            with Crowd(urls[first], mine) as crowd:
                job = operator.post(f"/v1/releases/{release_id}/push")
                done = operator.follow_job(job, self._on_rollout(note))
            self.found.crowd, self.found.dropped = dict(crowd.answered), crowd.failed
            if done["state"] != "done":
                self.found.failures.append(str(done["error"].get("message", "the push failed")))
                note(f"[red]{self.found.failures[-1]}[/red]")
                return
            note(
                f"{sum(crowd.answered.values())} questions answered meanwhile, {crowd.failed} lost"
            )
        with self.stages.stage("questions"):
            self.found.after = asyncio.run(ask_all(urls, self.found.questions))

    def verify(self) -> None:
        """Export and verify every ledger as a stranger would, each against the others' notes."""
        with self.stages.stage("verify") as note:
            folder = self.layout.root / "ledgers"
            folder.mkdir(exist_ok=True)
            homes = [self.layout.hq, *(self.layout.store(s.store_id) for s in self.found.stores)]
            files = []
            for home in homes:
                out = folder / f"{ledger_owner(home / 'ledger.db')}.ledger.jsonl"
                call(home, "audit", "export", str(out))
                files.append(out)
            noted = [head for file in files for head in noted_heads(file)]
            self.found.ledgers = [verify_file(file, noted=noted) for file in files]
            bad = [report for report in self.found.ledgers if not report.ok]
            for report in bad:
                self.found.failures.append(f"the ledger of {report.owner} does not verify")
            note(f"{len(files)} ledgers, {sum(r.entries for r in self.found.ledgers)} entries")

    # --- parts ---------------------------------------------------------------------------------

    def _data(self, note: Notes) -> Path:
        data = self.wanted.data
        if data is None:
            data = self.layout.world
            if not (data / "README.md").is_file():
                count = FAST_CUSTOMERS if self.wanted.fast else CUSTOMERS
                generate(data, seed=self.wanted.seed, customers=count)
        self.found.stores = read_stores(data)
        (self.layout.hq / "gate").mkdir(parents=True, exist_ok=True)
        for name in (*GATE_FILES, TUNING_FILE):
            if (data / HQ_DATA / name).is_file():
                shutil.copyfile(data / HQ_DATA / name, self.layout.hq / "gate" / name)
        note(", ".join(f"{s.store_id} ({s.lang})" for s in self.found.stores))
        return data

    def _begin_model(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "deploy.base_model", self.wanted.settings.model.base]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def _end_model(self, model: subprocess.Popen[str], note: Notes) -> None:
        out, _ = model.communicate()
        answer = json.loads(out.strip().splitlines()[-1]) if out.strip() else {}
        if model.returncode or "folder" not in answer:
            raise Unavailable(
                answer.get("what", "the base model could not be prepared"),
                where="[model] base",
                remedy=answer.get("remedy", "name a local folder in [model] base"),
            )
        self.found.base = answer
        note(f"{answer['name']}, digest {answer['digest'][:12]}")

    def _install(self, ports: Ports, note: Notes) -> None:
        stores = self.found.stores
        write_settings(self.layout, stores, ports, "", self._sections)
        key = SigningKey.load_or_create(self.layout.hq / "keys" / "ledger.key")
        write_keys(self.layout, stores, key.public_hex)
        hq = load_settings(home=self.layout.hq)
        invitation = self.layout.root / "invitation.json"
        invitation.write_text(invite(self.layout.hq, hq).model_dump_json(), "utf-8")
        for store in stores:
            home = self.layout.store(store.store_id)
            facts = join(
                home,
                load_settings(home=home),
                invitation,
                customers=store.public_customers,
                cohort=store.store_id,
            )
            (home / "enrolment.json").write_text(json.dumps(facts), "utf-8")
        note(f"{len(stores)} stores joined")

    def _import(self, store: StoreData) -> str:
        home = self.layout.store(store.store_id)
        files = store.files()
        wanted = {kind: digest_file(path) for kind, path in files}
        memory = home / "imported.json"
        if memory.is_file() and json.loads(memory.read_text("utf-8")) == wanted:
            return "already there"
        with opened(load_settings(home=home), home) as data:
            for kind, path in files:
                data.importer.read(ImportKind(kind), path)
        memory.write_text(json.dumps(wanted), "utf-8")
        return f"{len(files)} files"

    def _desensitize(self, store: StoreData) -> str:
        counts = call(self.layout.store(store.store_id), "store", "worker", "--once")
        self.found.samples[store.store_id] = counts
        return f"{counts['samples']} new samples"

    def _each_store(
        self, work: Callable[[StoreData], str], note: Notes, *, at_once: int = 1
    ) -> None:
        with ThreadPoolExecutor(max_workers=at_once) as pool:
            said = list(pool.map(work, self.found.stores))
        pairs = zip(self.found.stores, said, strict=True)
        note("; ".join(f"{store.store_id}: {told}" for store, told in pairs))

    def enrol(self, operator: Operator) -> None:
        """Hand every store's enrolment to HQ, which admits its node."""
        for store in self.found.stores:
            path = self.layout.store(store.store_id) / "enrolment.json"
            operator.post("/v1/stores", json.loads(path.read_text("utf-8")))

    def _plan(self, operator: Operator) -> str:
        open_runs = [r for r in operator.get("/v1/runs")["runs"] if r["state"] == "running"]
        with self.stages.stage("plan") as note:
            if open_runs:
                run_id = str(open_runs[0]["run_id"])
                self.found.plan = operator.get(f"/v1/runs/{run_id}")["plan"]
                note(f"going on with {run_id}, which was cut short")
            else:
                self.found.plan = self._new_plan(operator)
                run_id = str(self.found.plan["run_id"])
                note(run_id)
        self.console.print(plan_table(self.found.plan, self.wanted.settings))
        return run_id

    def _new_plan(self, operator: Operator) -> dict[str, Any]:
        try:
            return operator.post("/v1/runs/plan")
        except BudgetRefused as refused:
            text, where = refused.what, refused.where
            raise BudgetRefused(
                text, where=where, remedy="the budgets of earlier runs hold; --fresh starts over"
            ) from None

    def _cut_short(self, operator: Operator, run_id: str) -> bool:
        return bool(operator.get(f"/v1/runs/{run_id}")["state"] == "running")

    def _on_rollout(self, note: Notes) -> Callable[[Mapping[str, Any]], None]:
        def tell(event: Mapping[str, Any]) -> None:
            self.found.rollout.append(dict(event))
            note(in_words(event))

        return tell


def closed_rounds(run_id: str, outcomes: Sequence[Mapping[str, Any]]) -> int:
    """Return how many rounds closed.

    Raises:
        Refused: none did; says what each store answered to the last one.
    """
    closed = [outcome for outcome in outcomes if outcome["state"] == "closed"]
    if not closed:
        told = "; ".join(f"{one['sender']}: {one['reason']}" for one in outcomes[-1]["refused"])
        raise Refused(
            f"no round closed: {told or 'nobody answered'}",
            where=run_id,
            remedy="what was dispatched stays spent; see the stores' logs",
        )
    return len(closed)


def sections(wanted: Wanted) -> dict[str, dict[str, Any]]:
    """Return the sections that all homes of the demo share, from the user's settings.

    ``--fast`` lowers the floor of customers, so that a small world may train; its report says so.
    """
    settings = wanted.settings
    out: dict[str, dict[str, Any]] = {
        name: getattr(settings, name).model_dump(mode="json", exclude_none=True)
        for name in ("model", "privacy", "rounds", "serving", "performance")
    }
    # Three trainers, the model server and this machine's few cores at once: latency here says
    # nothing about a server of its own, so the canary is judged on errors, and latency is shown.
    out["serving"] |= {"p99_max_s": 60.0, "interval_s": 4.0}
    if wanted.fast:
        out["privacy"] |= {"min_customers": 10, "max_delta": 1e-4}
        out["rounds"] |= {"steps": 1}
        out["serving"] |= {"interval_s": 1.0, "max_new_tokens": 16}
    return out


def call(home: Path, *arguments: str) -> dict[str, Any]:
    """Run one of our own commands in a home and return its JSON answer.

    Raises:
        StoreWeaveError: what the command said, or ``Unavailable`` where it said nothing.
    """
    done = subprocess.run(
        [*program(home, "--json"), *arguments],
        env=environment(home),
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    answer: dict[str, Any] = json.loads(lines[-1]) if lines else {}
    if done.returncode:
        told = answer.get("error", answer)
        raise Unavailable(
            str(told.get("message", "failed without a word")),
            where=str(told.get("where") or " ".join(arguments[:2])),
            remedy=str(told.get("remedy", "")),
        )
    return answer


def plan_table(plan: Mapping[str, Any], settings: Settings) -> Table:
    """Return what a run will cost, before anything is spent."""
    table = Table(
        title=f"Plan {plan['run_id']}: {plan['rounds']} rounds, about "
        f"{plan['estimated_minutes']:.1f} minutes, {plan['bytes_up']:,} bytes up and "
        f"{plan['bytes_down']:,} down for each store and round",
        caption=f"epsilon is for each {plan['unit']} at a store ({plan['adjacency']}), noise added "
        f"by each {plan['noise']}; budget {settings.privacy.quarter_epsilon:g} a quarter, "
        f"{settings.privacy.year_epsilon:g} a year",
    )
    for column in (
        "store",
        "customers (public)",
        "epsilon",
        "delta",
        "sigma",
        "q",
        "steps a round",
    ):
        table.add_column(column, justify="left" if column == "store" else "right")
    for share in plan["shares"]:
        how = share["mechanism"]
        table.add_row(
            share["store_id"],
            str(share["public_customers"]),
            f"{share['epsilon']:.3f}",
            f"{share['delta']:.1e}",
            f"{how['sigma']:.3f}",
            f"{how['sample_rate']:g}",
            str(how["steps"]),
        )
    return table


def in_words(event: Mapping[str, Any]) -> str:
    """Return an event's name and its short facts in one line."""
    facts = {k: v for k, v in event.items() if k not in {"seq", "event", "at", "time", "created"}}
    inner = facts.pop("facts", {})
    shown = [
        f"{key} {value}"
        for key, value in {**facts, **(inner if isinstance(inner, Mapping) else {})}.items()
        if isinstance(value, str | int | float) and len(str(value)) < 48  # noqa: PLR2004 - a line
    ]
    return f"{event.get('event', '')} {', '.join(shown)}".strip()

"""A demo report with invented figures, for tests of how reports look; nothing here was measured."""

from deploy.demo.facts import (
    Answered,
    DemoReport,
    Gate,
    Interval,
    Machine,
    Quality,
    ReleaseFacts,
    RolloutStep,
    StageTime,
    StoreFacts,
    Traffic,
    Verification,
)

LANGS = ("en", "zh", "ar")


def quality(lang: str, *, measure: str, before: float, after: float, half: float) -> Quality:
    return Quality(
        lang=lang,
        measure=measure,  # type: ignore[arg-type]
        before=Interval(value=before, low=before - half, high=before + half),
        after=Interval(value=after, low=after - half, high=after + half),
        rows=180,
    )


def store(store_id: str, lang: str, spent: float) -> StoreFacts:
    return StoreFacts(
        store_id=store_id,
        name=f"Corner shop {store_id}",
        lang=lang,
        cohort="2026",
        public_customers=2000,
        epsilon=1.5,
        delta=1e-6,
        quarter_spent=spent,
        quarter_budget=2.0,
        year_spent=spent,
        year_budget=8.0,
        sigma=9.3,
        rounds_contributed=2,
        bytes_up=90_000,
        bytes_down=90_000,
        training_seconds=31.4,
    )


def ledger(owner: str, *, findings: tuple[str, ...] = ()) -> Verification:
    return Verification(
        owner=owner,
        entries=11,
        head="ab" * 32,
        verified=not findings,
        findings=findings,
        epsilon_pld={"2026": 1.5},
        epsilon_rdp={"2026": 1.62},
        delta={"2026": 1e-6},
    )


RELEASE = ReleaseFacts(
    release_id="rel-0k3f9t2m7q",
    parent="",
    manifest_digest="12" * 32,
    signer="34" * 32,
    signature="56" * 64,
    verified=True,
    base_digest="78" * 32,
    adapter_digest="9a" * 32,
    ledger_head="bc" * 32,
    gates=(
        Gate(name="quality", lang="en", passed=True, detail="3.12 → 2.41 nats"),
        Gate(name="memorisation", lang="", passed=True, detail="0 of 400 probes"),
    ),
)

SAMPLE = DemoReport(
    created="2026-11-23T15:00:00.000Z",
    version="0.1.0",
    command="storeweave demo --fast",
    fast=True,
    seed=7,
    run_id="run-0k3f9t2m7q",
    plan_digest="de" * 32,
    rounds=2,
    steps=8,
    base_model="Gemma 3 270M",
    adapter="rxr, rank 16, upper 6 layers, q_proj v_proj o_proj",
    unit="customer",
    adjacency="add-or-remove-one",
    noise="store",
    machine=Machine(
        cpu="Invented CPU 9000",
        cores=2,
        memory_bytes=24 * 2**30,
        system="Linux 6.1",
        python="3.11.7",
        torch="2.13.0",
        device="cpu",
    ),
    stores=(store("leeds", "en", 1.5), store("hangzhou", "zh", 1.9), store("dubai", "ar", 1.5)),
    quality=(
        *(
            quality(lang, measure="nll_per_token", before=3.1 + i / 5, after=2.4, half=0.08)
            for i, lang in enumerate(LANGS)
        ),
        quality("en", measure="intent_accuracy", before=0.42, after=0.81, half=0.05),
        quality("zh", measure="intent_accuracy", before=0.51, after=0.55, half=0.06),
        quality("ar", measure="intent_accuracy", before=0.45, after=0.31, half=0.04),
    ),
    traffic=Traffic(
        bytes_per_update=19_900,
        total_bytes=239_000,
        trained_parameters=4_608,
        baseline_bytes_per_update=3_100_000,
        baseline_parameters=737_280,
        baseline_total_bytes=37_200_000,
    ),
    stages=tuple(
        StageTime(name=name, seconds=seconds)
        for name, seconds in (
            ("data", 2.1),
            ("model", 34.0),
            ("start", 9.2),
            ("import", 4.4),
            ("samples", 12.0),
            ("baseline", 15.1),
            ("plan", 1.2),
            ("rounds", 88.0),
            ("build", 11.4),
            ("gates", 21.0),
            ("rollout", 14.2),
            ("questions", 15.0),
            ("verify", 6.1),
            ("tea <break>", 3.0),
        )
    ),
    questions=(
        Answered(
            lang="ar",
            question="هل يمكنني إرجاع الحذاء رقم 42 خلال 14 يوماً؟",
            before="Customer: هل",
            after="نعم، يمكنك إرجاعه خلال 14 يوماً مع الفاتورة (SKU 4821-B).",
            store_id="dubai",
            expected="نعم، خلال 14 يوماً",
        ),
        Answered(
            lang="zh",
            question="订单什么时候能送到？",
            before="",
            after="您的订单预计两天内送达。",
            store_id="hangzhou",
        ),
        Answered(
            lang="en",
            question="Where is my <b>parcel</b>?",
            before="Where is my parcel? Where is my parcel?",
            after="It left our warehouse; delivery takes two days.",
            store_id="leeds",
        ),
    ),
    ledgers=(ledger("hq"), ledger("leeds"), ledger("hangzhou"), ledger("dubai")),
    release=RELEASE,
    rollout=(
        RolloutStep(at_s=0.0, stage="registered", percent=0),
        RolloutStep(at_s=1.4, stage="staged", percent=0),
        RolloutStep(at_s=2.9, stage="warm", percent=0),
        RolloutStep(at_s=3.0, stage="canary", percent=10, requests=120, errors=0, p99_s=0.31),
        RolloutStep(at_s=8.1, stage="canary", percent=100, requests=118, errors=0, p99_s=0.29),
        RolloutStep(at_s=13.2, stage="stable", percent=100, requests=120, errors=0, p99_s=0.3),
    ),
    notes=("Figures of a short run say little about quality.",),
)

"""The operator API: what it lets happen, what it refuses, and in which words."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from coordinator.jobs import JobRunner, JobState
from shared.config import HqSettings, RoundSettings, ServingSettings, Settings
from shared.privacy.verify import verify_file
from tests.unit.coordinator.api.fakes import KEY_B, LOCAL, FakeService, Rig, enrolment, rig


def settings(api_key: str = "") -> Settings:
    return Settings(
        hq=HqSettings(api_key=SecretStr(api_key) if api_key else None),
        rounds=RoundSettings(rounds=2, steps=4, epsilon=1.0),
        serving=ServingSettings(interval_s=0.0),
    )


@pytest.fixture
def hq(tmp_path: Path) -> Iterator[Rig]:
    with rig(tmp_path, settings()) as opened:
        opened.runner.start()
        yield opened


def planned(hq: Rig) -> str:
    assert hq.client.post("/v1/stores", json=enrolment()).status_code == 201
    answer = hq.client.post("/v1/runs/plan", json={})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["run_id"])


def built(hq: Rig) -> str:
    """Plan a run, close a round, build its release; return the release's id."""
    run_id = planned(hq)
    hq.close_first_round(run_id)
    hq.hq.releases.build(run_id, lambda _event, _facts: None)
    return f"rel-{run_id}"


def test_health_needs_no_key(tmp_path: Path) -> None:
    with rig(tmp_path, settings("s3cret"), host="192.0.2.7") as opened:
        assert opened.client.get("/health/live").json() == {"status": "live"}
        assert opened.client.get("/health/ready").json() == {"status": "ready"}


def test_with_a_key_only_its_holders_pass(tmp_path: Path) -> None:
    with rig(tmp_path, settings("s3cret"), host="192.0.2.7") as opened:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic s3cret"}):
            answer = opened.client.get("/v1/stores", headers=headers)
            assert answer.status_code == 401
            assert answer.json()["error"]["code"] == "not_allowed"
            assert "s3cret" not in answer.text
        right = {"Authorization": "Bearer s3cret"}
        assert opened.client.get("/v1/stores", headers=right).json() == {"stores": []}


def test_without_a_key_other_machines_stay_out(tmp_path: Path) -> None:
    with rig(tmp_path, settings(), host="192.0.2.7") as opened:
        for path in ("/v1/stores", "/metrics", "/v1/ledger/export"):
            assert opened.client.get(path).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"X-Forwarded-For": "192.0.2.7"},
    ],
    ids=["rebound name", "foreign page", "opaque page", "proxy"],
)
def test_without_a_key_a_browser_or_proxy_cannot_lend_its_loopback(
    hq: Rig, headers: dict[str, str]
) -> None:
    answer = hq.client.post("/v1/releases/rollback", json={}, headers=headers)
    assert answer.status_code == 403
    assert hq.service.stable == "base"


def test_own_page_may_ask(hq: Rig) -> None:
    assert hq.client.get("/v1/stores", headers={"Origin": LOCAL}).status_code == 200


def test_enrolling_admits_the_node_and_keeps_the_ledger_key(hq: Rig) -> None:
    assert hq.client.post("/v1/stores", json=enrolment()).status_code == 201
    assert hq.admitted == ["leeds"]
    changed = hq.client.post("/v1/stores", json=enrolment(ledger_key=KEY_B))
    assert changed.status_code == 403
    assert "another ledger key" in changed.json()["error"]["message"]
    assert (
        hq.client.get("/v1/stores").json()["stores"][0]["ledger_key"] == enrolment()["ledger_key"]
    )


def test_bad_bodies_name_the_field_and_not_the_value(hq: Rig) -> None:
    secret = "Mrs Private, 1 High Street"
    for body in (enrolment(lang=secret), enrolment(extra=secret), enrolment(public_customers=0)):
        answer = hq.client.post("/v1/stores", json=body)
        assert answer.status_code == 422
        assert answer.json()["error"]["code"] == "bad_input"
        assert secret not in answer.text


def test_a_plan_costs_nothing_and_says_about_whom_it_speaks(hq: Rig) -> None:
    run_id = planned(hq)
    run = hq.client.get(f"/v1/runs/{run_id}").json()
    assert run["state"] == "planned"
    assert run["unit"] == "customer"
    assert run["adjacency"] == "add-or-remove-one"
    assert 0 < run["stores"]["leeds"] <= 1.0
    assert hq.client.get("/v1/budget").json()["budget"][0]["quarter_spent"] == 0.0
    assert hq.hq.ledger.reservations() == ()


def test_what_cannot_be_planned_is_said(hq: Rig) -> None:
    assert hq.client.post("/v1/runs/plan", json={}).status_code == 403
    hq.client.post("/v1/stores", json=enrolment(public_customers=20))
    few = hq.client.post("/v1/runs/plan", json={})
    assert few.status_code == 403
    assert "300 are needed" in few.json()["error"]["message"]
    assert hq.client.post("/v1/runs/plan", json={"stores": ["nowhere"]}).status_code == 404
    assert hq.client.post("/v1/runs/plan", json={"rounds": {"steps": 0}}).status_code == 422


def test_a_run_starts_once_and_may_be_resumed(hq: Rig) -> None:
    run_id = planned(hq)
    assert hq.client.post("/v1/runs", json={"run_id": run_id}).status_code == 202
    again = hq.client.post("/v1/runs", json={"run_id": run_id})
    assert again.status_code == 409
    assert again.json()["error"]["code"] == "illegal_move"
    resumed = hq.client.post("/v1/runs", json={"run_id": run_id, "resume": True})
    assert resumed.status_code == 202
    assert hq.launched == [run_id, run_id]
    events = hq.client.get(f"/v1/runs/{run_id}").json()["events"]
    assert [event["event"] for event in events] == ["run.launched"] * 2
    later = hq.client.get(f"/v1/runs/{run_id}?after={events[0]['seq']}").json()["events"]
    assert later == events[1:]


def test_a_finished_run_does_not_start_again(hq: Rig) -> None:
    run_id = planned(hq)
    hq.close_first_round(run_id)
    hq.hq.runs.move(run_id, 2, hq.hq.runs.states(run_id)[1].CANCELLED)
    answer = hq.client.post("/v1/runs", json={"run_id": run_id, "resume": True})
    assert answer.status_code == 409
    assert hq.launched == []


def test_a_run_that_could_not_be_handed_over_may_be_started_again(hq: Rig) -> None:
    run_id = planned(hq)
    hq.transport_down = True
    down = hq.client.post("/v1/runs", json={"run_id": run_id})
    assert down.status_code == 503
    assert down.json()["error"]["remedy"] == "start it"
    hq.transport_down = False
    assert hq.client.post("/v1/runs", json={"run_id": run_id}).status_code == 202


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/runs/run-none", None),
        ("POST", "/v1/runs", {"run_id": "run-none"}),
        ("POST", "/v1/releases", {"run_id": "run-none"}),
        ("GET", "/v1/releases/rel-none", None),
        ("GET", "/v1/releases/..%2F..%2Fkeys", None),
        ("POST", "/v1/releases/rel-none/push", None),
        ("GET", "/v1/jobs/job-none", None),
        ("GET", "/v1/nothing", None),
    ],
)
def test_what_is_not_there_is_404(hq: Rig, method: str, path: str, body: object) -> None:
    answer = hq.client.request(method, path, json=body)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"


def test_a_release_is_built_and_pushed_as_jobs(hq: Rig) -> None:
    run_id = planned(hq)
    assert hq.client.post("/v1/releases", json={"run_id": run_id}).status_code == 409
    hq.close_first_round(run_id)
    build = hq.client.post("/v1/releases", json={"run_id": run_id})
    assert build.status_code == 202
    push_id = f"rel-{run_id}"
    done = hq.wait(build.json()["job_id"])
    assert done["state"] == "done", done
    assert done["result"] == {"release_id": push_id}
    assert [event["event"] for event in done["events"]] == ["merged"]
    assert hq.client.get("/v1/releases").json()["releases"][0]["stage"] == "registered"


def test_a_push_is_followed_stage_by_stage(hq: Rig) -> None:
    release_id = built(hq)
    job = hq.wait(hq.client.post(f"/v1/releases/{release_id}/push").json()["job_id"])
    assert job["state"] == "done", job
    history = hq.client.get(f"/v1/releases/{release_id}").json()["history"]
    assert [(row["stage"], row["percent"]) for row in history] == [
        ("registered", 0),
        ("staged", 0),
        ("warm", 0),
        ("canary", 10),
        ("canary", 100),
        ("stable", 100),
    ]
    assert hq.service.stable == release_id
    back = hq.client.post("/v1/releases/rollback", json={"reason": "customers complain"})
    assert back.status_code == 200
    assert hq.service.stable == "base"
    last = hq.client.get(f"/v1/releases/{release_id}").json()["history"][-1]
    assert (last["stage"], last["reason"]) == ("rolled_back", "customers complain")


def test_a_canary_with_errors_is_taken_back_and_said(hq: Rig) -> None:
    release_id = built(hq)
    hq.service.errors_each_step = 1
    job = hq.wait(hq.client.post(f"/v1/releases/{release_id}/push").json()["job_id"])
    assert job["state"] == "failed"
    assert job["error"]["code"] == "gate_closed"
    assert hq.service.stable == "base"
    assert hq.client.get(f"/v1/releases/{release_id}").json()["stage"] == "rolled_back"


def test_a_service_that_is_down_does_not_keep_the_others_from_going_back(hq: Rig) -> None:
    release_id = built(hq)
    other = FakeService()
    hq.hq.releases._controls = {"down": other, "up": hq.service}
    hq.hq.releases.push(release_id, lambda _event, _facts: None)
    other.down = True
    answer = hq.client.post("/v1/releases/rollback", json={})
    assert answer.status_code == 503
    assert hq.service.stable == "base"
    assert hq.client.get(f"/v1/releases/{release_id}").json()["stage"] == "rolled_back"


def test_going_back_to_a_release_makes_it_stable_again(hq: Rig) -> None:
    first, second = built(hq), built(hq)
    for release_id in (first, second):
        hq.hq.releases.push(release_id, lambda _event, _facts: None)
    assert hq.client.get(f"/v1/releases/{first}").json()["stage"] == "retired"
    assert hq.client.post("/v1/releases/rollback", json={}).status_code == 200
    stages = [hq.client.get(f"/v1/releases/{name}").json()["stage"] for name in (first, second)]
    assert stages == ["stable", "rolled_back"]
    stable = hq.hq.releases.stable()
    assert stable is not None
    assert stable.release_id == first


def test_a_release_behind_a_closed_gate_never_goes_out(hq: Rig) -> None:
    run_id = planned(hq)
    hq.close_first_round(run_id)
    hq.gates_passed = False
    build = hq.client.post("/v1/releases", json={"run_id": run_id}).json()["job_id"]
    hq.runner.close(timeout_s=20)
    job = hq.client.get(f"/v1/jobs/{build}").json()
    assert (job["state"], job["error"]["code"]) == ("failed", "gate_closed")
    release = hq.client.get(f"/v1/releases/rel-{run_id}").json()
    assert (release["stage"], release["gates_passed"]) == ("rejected", False)
    again = JobRunner(hq.hq.jobs, hq.hq.work())
    again.start()
    push = again.submit("push", f"rel-{run_id}")
    again.close(timeout_s=20)
    assert hq.client.get(f"/v1/jobs/{push.job_id}").json()["error"]["code"] == "illegal_move"
    assert hq.service.canary == ""


def test_jobs_of_an_earlier_process_are_interrupted(tmp_path: Path) -> None:
    with rig(tmp_path, settings()) as first:
        left = [first.hq.jobs.add("build", name).job_id for name in ("run-a", "run-b")]
        first.hq.jobs.move(left[0], JobState.RUNNING)
    with rig(tmp_path, settings()) as second:
        second.runner.start()
        states = [second.client.get(f"/v1/jobs/{job_id}").json()["state"] for job_id in left]
        assert states == ["interrupted", "interrupted"]
        assert len(second.client.get("/v1/jobs").json()["jobs"]) == 2


def test_the_same_work_is_not_queued_twice(tmp_path: Path) -> None:
    with rig(tmp_path, settings()) as opened:
        release_id = built(opened)
        assert opened.client.post(f"/v1/releases/{release_id}/push").status_code == 202
        assert opened.client.post(f"/v1/releases/{release_id}/push").status_code == 409


def test_the_exported_ledger_verifies_without_headquarters(hq: Rig, tmp_path: Path) -> None:
    run_id = planned(hq)
    run = hq.hq.operations.run(run_id)
    hq.hq.ledger.reserve(run.plan, store_ids=["leeds"], policy=settings().privacy)
    out = tmp_path / "out.jsonl"
    answer = hq.client.get("/v1/ledger/export")
    assert "attachment" in answer.headers["content-disposition"]
    out.write_bytes(answer.content)
    report = verify_file(out, trusted={"hq": hq.hq.key.public_hex})
    assert report.ok, report.violations
    own = hq.client.get("/v1/ledger/verify").json()
    assert own["ok"] is True
    assert own["entries"] == report.entries
    assert "path" not in own


def test_metrics_tell_what_was_spent_per_store_and_never_more(hq: Rig) -> None:
    run_id = planned(hq)
    before = hq.client.get("/metrics").text
    assert 'storeweave_hq_rounds{state="planned"} 2.0' in before
    spent = 'storeweave_hq_epsilon_spent{cohort="leeds-2026",period="quarter",store="leeds"}'
    assert f"{spent} 0.0" in before
    plan = hq.hq.operations.run(run_id).plan
    hq.hq.ledger.reserve(plan, store_ids=["leeds"], policy=settings().privacy)
    hq.close_first_round(run_id)
    after = hq.client.get("/metrics").text
    value = next(line for line in after.splitlines() if line.startswith(spent)).split()[-1]
    assert float(value) == pytest.approx(plan.shares[0].epsilon, rel=0.01)
    assert 'storeweave_hq_update_bytes{store="leeds"} 1234.0' in after


def test_the_page_holds_no_data_and_loads_nothing_foreign(hq: Rig) -> None:
    page = hq.client.get("/")
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
    script = hq.client.get("/console.js").text
    assert "innerHTML" not in script
    assert "http" not in page.text
    assert hq.client.get("/console.css").headers["content-type"].startswith("text/css")


def test_a_bug_answers_in_form_and_keeps_its_message_to_itself(
    hq: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def boom() -> None:
        raise ValueError("a customer said something")

    monkeypatch.setattr(hq.hq.operations, "stores", boom)
    answer = hq.client.get("/v1/stores")
    assert answer.status_code == 500
    assert "customer" not in answer.text
    assert json.loads(answer.text)["error"]["code"] == "failure"

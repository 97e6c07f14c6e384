"""What happens to trials in real worker processes."""

import os
import signal
from pathlib import Path

import pytest
import standins
from standins import make_plan

from capo_bench.process.interrupt import Interrupts
from capo_bench.run.devices import count_cores
from capo_bench.run.executor import Job
from capo_bench.run.pool import LocalExecutor
from capo_bench.run.runner import Runner, RunOptions, choose_workers, list_pending_trials
from capo_bench.store.errors import RunError, StudyLockedError
from capo_bench.store.home import Home, read_json
from capo_bench.store.ledger import Ledger
from capo_bench.store.lock import hold_lock
from capo_bench.study.identity import hash_cold_start


def test_trials_are_recorded_and_a_second_run_touches_nothing(session, home):
    plan = make_plan(["ok", "ok 2"], seeds=(0, 1))
    result = session.run(plan, workers=2)
    assert (result.done, result.planned, result.failed, result.exit_code, result.idle) == (4, 4, 0, 0, False)
    events = session.events()
    assert events[0] == "study_started"
    assert events[-1] == "study_finished"
    assert sorted(events[1:-1]) == sorted(
        f"{event} {trial.id}" for event in ("trial_started", "trial_done") for trial in plan.trials
    )
    assert session.records("study_started")[0]["plan"] == [trial.id for trial in plan.trials]

    before = home.study("demo").ledger.read_bytes()
    again = session.run(plan, workers=2)
    assert (again.exit_code, again.idle) == (0, True)
    assert home.study("demo").ledger.read_bytes() == before


def test_every_variant_gets_its_first_seed_before_any_gets_its_second(home):
    pending = list_pending_trials(make_plan(["a", "b"], seeds=(3, 1)).trials, home)
    assert [trial.id for trial in pending] == ["a-3", "b-3", "a-1", "b-1"]


def test_embedded_backbones_take_every_core_and_one_from_a_hub_takes_the_machine():
    embedded = make_plan(["a", "b"]).trials
    assert choose_workers(embedded, 8) == 8
    config = embedded[0].config.model_copy(update={"backbone": "qwen2.5-1.5b"})
    large = type(embedded[0])(**{**vars(embedded[0]), "config": config})
    assert choose_workers([*embedded, large], 8) == 1


def test_a_trial_that_another_study_finished_is_not_run(session, home):
    plan = make_plan(["fail"])
    standins.finish(plan.trials[0], home)
    assert session.run(plan).exit_code == 0
    assert session.events() == ["study_started", "study_finished"]


def test_one_trial_under_two_names_runs_once(session):
    plan = make_plan(["ok", "ok 2"])
    twin = type(plan)(**{**vars(plan), "trials": (plan.trials[0], plan.trials[0])})
    assert session.run(twin).planned == 1
    assert session.events().count("trial_started ok-0") == 1


def test_a_worker_serves_many_trials_and_cores_are_shared_out(session, home):
    plan = make_plan(["env", "env 2"], seeds=(0, 1))
    session.run(plan, workers=2)
    seen = [read_json(home.trial(trial.id).path / "env.json") for trial in plan.trials]
    assert len({item["pid"] for item in seen}) == 2
    assert {item["threads"] for item in seen} == {str(max(1, count_cores() // 2))}


def test_a_containers_limit_on_the_cores_counts(tmp_path):
    limit = tmp_path / "cpu.max"
    limit.write_text("150000 100000\n")
    assert count_cores(limit) == 1
    limit.write_text("max 100000\n")
    assert count_cores(limit) == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("variant", "error"),
    [
        ("fail", "ValueError: the reward is not a number"),
        ("die", "its worker process was killed by SIGKILL (out of memory?)"),
        ("segfault", "its worker process was killed by SIGSEGV"),
        ("exit", "SystemExit: 3"),
        ("lie", "RuntimeError: the trial ended but left no"),
    ],
)
def test_a_trial_that_fails_is_shown_with_its_log_and_the_others_go_on(session, home, variant, error):
    plan = make_plan([variant, "ok", "ok 2"])
    result = session.run(plan, workers=1)
    assert (result.done, result.failed, result.exit_code) == (2, 1, 1)
    record = session.records("trial_failed")[0]
    assert record["error"].startswith(error)
    assert Path(record["log"]) == home.trial(f"{variant}-0").log
    assert f"failed {variant} seed 0: {error}" in session.shown.getvalue()
    assert record["log"] in session.shown.getvalue()
    assert session.events()[-1] != "study_finished"


def test_the_log_of_a_failed_trial_has_the_traceback(session, home):
    session.run(make_plan(["fail"]))
    assert "second line" in home.trial("fail-0").log.read_text()
    assert 'raise ValueError("the reward' in home.trial("fail-0").log.read_text()


def test_failed_trials_are_tried_again_by_the_next_run(session):
    plan = make_plan(["fail", "ok"])
    session.run(plan)
    session.run(plan)
    assert session.events().count("trial_started fail-0") == 2
    assert session.events().count("trial_started ok-0") == 1


def test_fail_fast_starts_nothing_more_and_lets_running_trials_save(session, home):
    result = session.run(make_plan(["slow", "fail", "ok"]), workers=2, max_failures=1)
    assert (result.done, result.exit_code) == (0, 3)
    assert result.limit.startswith("stopped after 1 failure")
    assert session.events()[-1] == "trial_stopped slow-0"
    assert home.trial("slow-0").checkpoints.exists()
    assert "trial_started ok-0" not in session.events()


def test_what_a_trial_prints_goes_to_its_log(session, home, capfd):
    session.run(make_plan(["chatty", "ok"]), workers=1)
    log = home.trial("chatty-0").log.read_text()
    for words in ("from python", "from a child process", "and its errors"):
        assert words in log
    assert "from" not in home.trial("ok-0").log.read_text()
    assert capfd.readouterr() == ("", "")


def test_a_shared_cold_start_is_made_once_before_the_trials(session, home):
    plan = make_plan(["ok", "ok 2", "ok 3"], seeds=(0, 1), cold=("ok", "ok 2"))
    assert session.run(plan, workers=2).exit_code == 0
    calls = (home.stage("cold_start", "counted") / "calls").read_text()
    assert calls == f"ok-0 {max(1, count_cores() // 2)}\n"


def test_a_cold_start_that_fails_fails_the_trials_that_need_it_alone(session):
    plan = make_plan(["broken", "ok"], seeds=(0, 1), cold=("broken",))
    result = session.run(plan)
    assert (result.done, result.failed) == (2, 2)
    record = session.records("trial_failed")[0]
    assert record["error"] == "cold start failed: RuntimeError: no demonstrations"
    assert "no demonstrations" in Path(record["log"]).read_text()


def test_a_second_runner_of_the_study_is_refused(session, home):
    with hold_lock(home.study("demo").path / "lock"), pytest.raises(StudyLockedError, match=str(os.getpid())):
        session.run(make_plan(["ok"]))


def test_a_trial_that_another_study_is_running_is_waited_for_and_not_run_twice(session, home, runner_process, until):
    other = runner_process("slow", workers=1)
    until(home.trial("slow-0").log.exists)
    assert session.run(make_plan(["slow"], study="second")).exit_code == 0
    assert other.wait(20) == 0
    assert "slow-0" in str(session.records("trial_done", "second"))
    steps = home.trial("slow-0").log.read_text()
    assert steps.count("--- ") == 2  # both had the job, one did it


def test_a_worker_killed_from_outside_fails_only_its_trial(home, runner_process, until, session):
    process = runner_process("orphan", "ok", workers=2)
    pids = home.trial("orphan-0").path / "pids"
    until(lambda: pids.exists() and pids.read_text())
    until(lambda: "trial_done ok-0" in session.events())
    os.kill(int(pids.read_text()), signal.SIGKILL)
    _, shown = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "failed orphan seed 0: its worker process was killed by SIGKILL" in shown
    assert Home(home.path).trial("ok-0").done


def test_after_a_failure_the_next_trial_gets_a_fresh_process(session, home):
    """A failure may have left the process unfit, as a CUDA error does."""
    session.run(make_plan(["leaky", "leaky 2", "env"]), workers=1)
    pids = {read_json(home.trial(trial).path / "env.json")["pid"] for trial in ("leaky-0", "leaky 2-0", "env-0")}
    assert len(pids) == 3


def test_trials_begin_as_soon_as_their_own_models_are_made(session, home):
    """The cold start of `patient` is not made before `ok`, which needs none, is done."""
    result = session.run(make_plan(["patient", "ok"], cold=("patient",)), workers=2)
    events = session.events()
    assert (result.done, result.failed) == (2, 0)
    assert events.index("trial_done ok-0") < events.index("trial_started patient-0")


def test_of_the_jobs_that_are_due_those_of_the_smallest_rank_are_started_first(home, tmp_path):
    trials = make_plan(["ok", "ok 2", "ok 3", "ok 4"]).trials
    first, third, second, fourth = (
        Job(
            "trial",
            standins.TASK,
            trial,
            home.path,
            home.trial(trial.id).log,
            home.trial(trial.id).path / "lock",
            rank=rank,
        )
        for trial, rank in zip(trials, (4, 2, 1, 2), strict=True)
    )
    begun = []
    with Interrupts() as interrupts, LocalExecutor(1, 1, tmp_path / "log", interrupts) as pool:
        pool.submit(first)
        for job, message in pool.events():
            if message["kind"] == "start":
                begun.append(job)
                for more in [third, second, fourth] if job is first else []:
                    pool.submit(more)
    assert begun == [first, second, third, fourth]


def test_no_message_is_lost_however_many_there_are(home):
    seen = []
    plan = make_plan(["flood"])
    options = RunOptions(task=standins.TASK, prepare=standins.PREPARE)
    with Interrupts() as interrupts:
        Runner(plan, home, options, [seen.append]).run(list(plan.trials), interrupts)
    steps = [event["step"] for event in seen if event["event"] == "step" and event["of"] == 5000]
    assert steps == list(range(1, 5001))
    assert {event["trial"] for event in seen if event["event"] in ("step", "stage", "trial_done")} == {"flood-0"}


def test_no_worker_is_left_after_a_run_that_ended_with_an_error(session, home, monkeypatch, until, is_alive):
    """The ledger cannot be written while a trial runs: the run ends, and the trial with it."""
    plan = make_plan(["stubborn"])

    def full(self, event, **fields):
        if event == "trial_started":
            until((home.trial("stubborn-0").path / "pids").exists)
            raise RunError("no space left on device")
        return {"event": event, **fields}

    monkeypatch.setattr(Ledger, "append", full)
    with pytest.raises(RunError, match="no space"):
        session.run(plan)
    pids = (home.trial("stubborn-0").path / "pids").read_text().split()
    until(lambda: not any(map(is_alive, pids)))


def test_fail_fast_holds_for_a_cold_start_too(session):
    plan = make_plan(["broken", "ok"], cold=("broken",))
    result = session.run(plan, max_failures=1, workers=1)
    assert (result.done, result.exit_code) == (0, 3)
    assert "trial_started ok-0" not in session.events()


def test_a_cold_start_that_is_there_costs_no_process(session, home):
    plan = make_plan(["ok"], cold=("ok",))
    home.stage("cold_start", hash_cold_start(plan.trials[0].config)).mkdir(parents=True)
    assert session.run(plan).exit_code == 0
    assert not (home.study("demo").path / "cold_start.log").exists()


def test_no_more_workers_than_trials_are_started(session, home, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)  # a user's own number is heeded
    assert session.run(make_plan(["env"]), workers=8).exit_code == 0
    assert read_json(home.trial("env-0").path / "env.json")["threads"] == str(count_cores())


def test_a_task_that_cannot_be_imported_fails_its_trial_with_the_reason(session):
    session.run(make_plan(["ok"]), task="no_such_module:run")
    assert session.records("trial_failed")[0]["error"] == "ModuleNotFoundError: No module named 'no_such_module'"


def test_a_plan_that_changes_is_run_on_from_what_is_done(session):
    session.run(make_plan(["ok"]))
    result = session.run(make_plan(["ok", "ok 2"]))
    assert (result.done, result.planned, result.idle) == (2, 2, False)
    assert session.events().count("trial_started ok-0") == 1
    assert session.records("study_started")[1]["plan"] == ["ok-0", "ok 2-0"]

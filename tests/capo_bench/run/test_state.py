import os
import shutil
import time
from datetime import UTC, datetime

import pytest
from standins import finish, make_plan

from capo_bench.run.state import NEWS_SECONDS, list_started_studies, read_study_status
from capo_bench.store.home import write_json
from capo_bench.store.ledger import Ledger
from capo_bench.store.lock import hold_lock


def states(status):
    return {trial.trial: trial.state for trial in status.trials}


def test_a_study_tells_each_trials_state(home):
    plan = make_plan(["a", "b", "c", "d", "e"])
    ledger = Ledger(home.study("demo").ledger)
    ledger.append("study_started", profile="quick", plan=[trial.id for trial in plan.trials])
    finish(plan.trials[0], home)
    ledger.append("trial_started", trial="b-0", variant="b", seed=0)
    ledger.append("trial_failed", trial="c-0", variant="c", seed=0, error="ValueError: no", log="c.log")
    ledger.append("trial_stopped", trial="d-0", variant="d", seed=0)

    with hold_lock(home.study("demo").path / "lock"):
        status = read_study_status(home, "demo")
    assert status.running
    assert states(status) == {"a-0": "done", "b-0": "running", "c-0": "failed", "d-0": "stopped", "e-0": "pending"}
    assert status.counts() == {"done": 1, "running": 1, "failed": 1, "stopped": 1, "pending": 1}
    assert status.trials[2].entry.error == "ValueError: no"

    crashed = read_study_status(home, "demo")
    assert (crashed.running, states(crashed)["b-0"]) == (False, "stopped")


def test_a_trial_whose_results_were_deleted_is_owed_again(session, home):
    session.run(make_plan(["ok"]))
    assert states(read_study_status(home, "demo")) == {"ok-0": "done"}
    shutil.rmtree(home.trial("ok-0").path)
    assert states(read_study_status(home, "demo")) == {"ok-0": "pending"}
    assert not session.run(make_plan(["ok"])).idle


def test_other_trials_than_the_last_plans_can_be_asked_for(home):
    status = read_study_status(home, "demo", "full", ("x",))
    assert (status.profile, states(status)) == ("full", {"x": "pending"})


def test_studies_that_were_started_are_found(session, home):
    assert list(list_started_studies(home)) == []
    session.run(make_plan(["ok"]))
    session.run(make_plan(["ok"], study="another"))
    assert list(list_started_studies(home)) == ["another", "demo"]


@pytest.fixture
def lock(home):
    return home.study("demo").path / "lock"


def begun(home, *trials):
    """A ledger of a run whose trials have been started."""
    ledger = Ledger(home.study("demo").ledger)
    ledger.append("study_started", profile="quick", plan=list(trials))
    for trial in trials:
        ledger.append("trial_started", trial=trial, variant="v", seed=0, log="v.log")
    return ledger


def say(home, **more):
    told = {"time": datetime.now(UTC).isoformat(), "seconds": 10.0, "policy_tokens": 500, "critic_tokens": 20}
    write_json(home.study("demo").now, {**told, "trials": {}, **more})


def test_a_running_study_tells_who_runs_it_how_fast_and_what_each_trial_is_at(home, lock):
    ledger = begun(home, "a", "b")
    ledger.append("trial_done", trial="a", variant="v", seed=0, seconds=3.0)
    trial = {"stage": "generate", "task": "coins_test", "step": 4, "of": 4, "outcome": 0.5, "attempt": 2, "seconds": 7}
    say(home, seconds_left=100.0, trials={"b": trial}, preparing=[])
    with hold_lock(lock):
        status = read_study_status(home, "demo")
    assert (status.holder.pid, status.holder.checked) == (os.getpid(), True)
    assert status.seconds_left == pytest.approx(100, abs=5)
    assert status.tokens == {"policy": 50.0, "critic": 2.0}
    assert status.an_hour > 0
    now = status.trials[1].now
    assert (now["stage"], now["task"], now["attempt"]) == ("generate", "coins_test", 2)
    assert 7 <= now["seconds"] < 20


def test_a_trial_between_two_tries_runs_and_what_failed_is_remembered(home, lock):
    ledger = begun(home, "a")
    ledger.append("trial_retried", trial="a", variant="v", seed=0, attempt=1, error="lost", cause="lost", delay=1.0)
    with hold_lock(lock):
        status = read_study_status(home, "demo")
    assert (states(status), status.retried) == ({"a": "running"}, 1)
    assert (status.failure.trial, status.failure.entry.error) == ("a", "lost")
    assert states(read_study_status(home, "demo")) == {"a": "stopped"}


def test_a_crash_leaves_what_was_running_and_no_estimate(home, lock):
    begun(home, "a")
    say(home, seconds_left=100.0, trials={"a": {"stage": "train", "step": 3, "of": 9, "seconds": 1.0}})
    with hold_lock(lock):
        pass
    status = read_study_status(home, "demo")
    assert (status.running, status.holder, status.seconds_left, status.tokens) == (False, None, None, {})
    assert (status.trials[0].state, status.trials[0].now["step"]) == ("stopped", 3)


def test_a_lock_held_elsewhere_is_believed_as_long_as_there_is_news(home, lock):
    begun(home, "a")
    write_json(lock, {"pid": 7, "host": "another-machine", "since": "2026-01-01T00:00:00+00:00"})
    assert not read_study_status(home, "demo").running
    say(home)
    status = read_study_status(home, "demo")
    assert (status.running, status.holder.host, status.holder.checked) == (True, "another-machine", False)
    old = time.time() - NEWS_SECONDS - 1
    os.utime(home.study("demo").now, (old, old))
    assert not read_study_status(home, "demo").running


@pytest.mark.parametrize("content", ["", "[]", '{"pid": "x"}', "{"])
def test_a_lock_that_says_nothing_still_counts(home, lock, content):
    begun(home, "a")
    with hold_lock(lock):
        lock.write_text(content)
        status = read_study_status(home, "demo")
    assert (status.running, status.holder.host) == (True, "")


@pytest.mark.parametrize("said", [{"trials": 3}, {"trials": {"a": 4}}, {"time": "noon", "seconds_left": "soon"}, {}])
def test_news_in_a_form_that_is_not_known_is_done_without(home, lock, said):
    begun(home, "a")
    write_json(home.study("demo").now, said)
    with hold_lock(lock):
        status = read_study_status(home, "demo")
    assert (status.trials[0].state, dict(status.trials[0].now)) == ("running", {})


def test_a_real_run_tells_of_its_trials_and_takes_its_news_away(home, runner_process, until):
    process = runner_process("slow")
    now = until(lambda: next((t.now for t in read_study_status(home, "demo").trials if t.now.get("of")), None))
    assert now["of"] == 40
    status = read_study_status(home, "demo")
    assert (status.running, status.holder.pid) == (True, process.pid)
    assert process.wait(timeout=30) == 0
    assert not home.study("demo").now.exists()
    assert read_study_status(home, "demo").counts()["done"] == 1

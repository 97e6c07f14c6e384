import shutil

from standins import finish, make_plan

from capo_bench.run.ledger import Ledger
from capo_bench.run.lock import study_lock
from capo_bench.run.state import started_studies, study_status


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

    with study_lock(home.study("demo").path / "lock"):
        status = study_status(home, "demo")
    assert status.running
    assert states(status) == {"a-0": "done", "b-0": "running", "c-0": "failed", "d-0": "stopped", "e-0": "owed"}
    assert status.counts() == {"done": 1, "running": 1, "failed": 1, "stopped": 1, "owed": 1}
    assert status.trials[2].entry.error == "ValueError: no"

    crashed = study_status(home, "demo")
    assert (crashed.running, states(crashed)["b-0"]) == (False, "stopped")


def test_a_trial_whose_results_were_deleted_is_owed_again(session, home):
    session.run(make_plan(["ok"]))
    assert states(study_status(home, "demo")) == {"ok-0": "done"}
    shutil.rmtree(home.trial("ok-0").path)
    assert states(study_status(home, "demo")) == {"ok-0": "owed"}
    assert not session.run(make_plan(["ok"])).idle


def test_other_trials_than_the_last_plans_can_be_asked_for(home):
    status = study_status(home, "demo", "full", ("x",))
    assert (status.profile, states(status)) == ("full", {"x": "owed"})


def test_studies_that_were_started_are_found(session, home):
    assert list(started_studies(home)) == []
    session.run(make_plan(["ok"]))
    session.run(make_plan(["ok"], study="another"))
    assert list(started_studies(home)) == ["another", "demo"]

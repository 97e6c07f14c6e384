"""Whole studies on two nodes, one of which is lost: the table is that of local workers."""

import threading

import pytest
import standins
from standins import make_plan

from capo_bench.run.runner import RunOptions
from capo_bench.store.home import Home, read_json
from capo_bench.study.load import load_plan

pytest.importorskip("ray", reason="trials on a cluster need Ray: pip install 'capo-bench[ray]'")

STUDY = """
name: small
question: Does a critic help on a study that is too small to tell?
baseline: grpo_rule
metrics: [coins_test/accuracy, coins_test/wrong_step_rate]
base:
  cold_start: {steps: 12, problems_per_step: 16}
  train: {steps: 4, prompts_per_step: 2, group_size: 4, max_completion_tokens: 40}
  critic: {name: noisy}
  evaluation: {tasks: [coins_test], problems: 8, max_completion_tokens: 40}
matrix:
  credit.vote: [intersection, union]
include:
  - {name: grpo_rule, set: {method: grpo_rule}}
seeds: [0]
"""


@pytest.fixture
def site(two_nodes):
    """Options of a run on the two nodes."""
    return {"executor": "ray", "address": two_nodes.address, "track": False}


def lose_when(cluster, happened, seconds=0.0):
    """End the second node so long after something has happened, beside the run."""

    def wait():
        standins.wait_until(happened, seconds=120)
        threading.Event().wait(seconds)
        cluster.lose_second()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def metrics(home, plan):
    return {trial.id: read_json(home.trial(trial.id).metrics)["metrics"] for trial in plan.trials}


def test_a_study_of_stand_ins_ends_with_the_table_of_local_workers(two_nodes, site, session, home, tmp_path):
    plan = make_plan(["slow a", "slow b"], seeds=(0, 1))
    lost = lose_when(two_nodes, lambda: len(session.records("trial_started")) >= 2, seconds=1.0)
    result = session.run(plan, **site)
    lost.join()
    assert (result.done, result.exit_code) == (4, 0)
    assert {record["cause"] for record in session.records("trial_retried")} == {"lost"}
    local = standins.Session(Home(tmp_path / "local"))
    assert local.run(plan, workers=2).exit_code == 0
    assert metrics(home, plan) == metrics(local.home, plan)


@pytest.mark.nightly
def test_a_study_of_tiny_trials_ends_with_the_table_of_local_workers(two_nodes, site, session, home, tmp_path):
    file = tmp_path / "small.yaml"
    file.write_text(STUDY)
    plan = load_plan(str(file), "quick", (), ())
    lost = lose_when(two_nodes, lambda: len(session.records("trial_started", "small")) >= 2, seconds=8.0)
    real = {"task": RunOptions.task, "prepare": RunOptions.prepare, "checkpoint_seconds": 0.0}
    assert session.run(plan, **real, **site).exit_code == 0
    lost.join()
    local = standins.Session(Home(tmp_path / "local"))
    assert local.run(plan, workers=2, **real).exit_code == 0
    assert metrics(home, plan) == metrics(local.home, plan)
    assert all(home.trial(trial.id).model.is_dir() for trial in plan.trials)

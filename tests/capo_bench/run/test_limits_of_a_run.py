"""Retries, time limits, failures and devices, with real worker processes."""

import os
import signal

from standins import make_plan

from capo_bench.run import runner as runner_module
from capo_bench.store.home import read_json


def retried(session):
    return [(record["trial"], record["attempt"], record["cause"]) for record in session.records("trial_retried")]


def test_a_lost_worker_is_tried_again_and_the_trial_ends_well(session, home):
    result = session.run(make_plan(["shaky"]), retries=2)
    assert (result.done, result.failed, result.exit_code) == (1, 0, 0)
    assert retried(session) == [("shaky-0", 2, "lost")]
    assert session.events()[1:-1] == ["trial_started shaky-0", "trial_retried shaky-0", "trial_started shaky-0",
                                      "trial_done shaky-0"]  # fmt: skip


def test_without_retries_it_fails_at_once(session):
    result = session.run(make_plan(["shaky"]), retries=0)
    assert (result.done, result.failed, result.exit_code) == (0, 1, 1)
    assert retried(session) == []


def test_out_of_memory_goes_on_with_half_the_micro_batch(session, home):
    plan = make_plan(["hungry"], train={"prompts_per_step": 4, "group_size": 4, "steps": 2})
    result = session.run(plan, retries=3)
    assert result.exit_code == 0
    assert [record["cause"] for record in session.records("trial_retried")] == ["memory", "memory"]
    assert read_json(home.trial("hungry-0").path / "tried.json") == {"number": 3, "micro_batch": 4}
    assert "train.micro_batch is 16 of 16 rollouts; set it to 8" in session.records("trial_retried")[0]["error"]


def test_an_endpoint_that_is_down_is_asked_later(session):
    result = session.run(make_plan(["unreachable"]), retries=1, retry_seconds=0.01)
    assert (result.done, result.failed) == (0, 1)
    assert retried(session) == [("unreachable-0", 2, "endpoint")]


def test_a_mistake_is_not_tried_again(session):
    session.run(make_plan(["fail"]))
    assert retried(session) == []


def test_a_stage_over_its_time_ends_and_the_others_go_on(session, is_alive, home):
    result = session.run(make_plan(["stuck", "ok", "ok 2"]), workers=2, timeouts={"train": 1.5})
    assert (result.done, result.failed) == (2, 1)
    (record,) = session.records("trial_failed")
    assert record["error"] == "stage 'train' took longer than 1.5 s (--timeout train=… sets the limit)"
    worker, child = map(int, (home.trial("stuck-0").path / "pids").read_text().split())
    assert not is_alive(worker)
    assert not is_alive(child)


def test_so_many_failures_end_the_run(session):
    result = session.run(make_plan(["fail", "fail 2", "fail 3", "ok"]), workers=1, max_failures=2)
    assert (result.done, result.failed, result.exit_code) == (0, 2, 3)
    assert "stopped after 2 failures (--max-failures; --keep-going goes on whatever fails)" in result.limit


def test_no_limit_goes_on_whatever_fails(session):
    result = session.run(make_plan(["fail", "fail 2", "fail 3", "ok"]), workers=1, max_failures=None)
    assert (result.done, result.failed, result.exit_code) == (1, 3, 1)


def test_a_full_disk_ends_the_run(session):
    result = session.run(make_plan(["full", "ok"]), workers=1)
    assert (result.done, result.exit_code) == (0, 3)
    assert "the disk is full: free space" in result.limit
    assert retried(session) == []


def test_a_disk_that_fills_up_meanwhile_ends_the_run_and_trials_save(session, home, monkeypatch):
    class Filling(runner_module.DiskWatch):
        def trouble(self):
            reached = home.trial("slow-0").checkpoints.joinpath("state.json").exists()
            return "the disk is nearly full" if reached else ""

    monkeypatch.setattr(runner_module, "DiskWatch", Filling)
    result = session.run(make_plan(["slow", "ok"]), workers=1)
    assert (result.done, result.exit_code, result.limit) == (0, 3, "the disk is nearly full")
    assert "trial_stopped slow-0" in session.events()


def test_each_worker_sees_its_own_gpus(session, home, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    plan = make_plan(["env", "env 2"], seeds=(0, 1))
    monkeypatch.setattr(runner_module, "_count_gpus", lambda trial: 1)
    session.run(plan, workers=2)
    seen = {read_json(home.trial(trial.id).path / "env.json")["gpus"] for trial in plan.trials}
    assert seen == {"4", "5"}


def test_trials_that_need_other_numbers_of_gpus_take_turns(session, home, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    plan = make_plan(["env", "env two", "env none"])
    needs = {"env": 1, "env two": 2, "env none": 0}
    monkeypatch.setattr(runner_module, "_count_gpus", lambda trial: needs[trial.variant])
    result = session.run(plan, workers=2)
    assert result.exit_code == 0
    seen = [read_json(home.trial(trial.id).path / "env.json")["gpus"] for trial in plan.trials]
    assert [len(list(filter(None, gpus.split(",")))) for gpus in seen] == [1, 2, 0]


def test_a_closed_terminal_lets_trials_save(runner_process, home, until):
    # As a shell starts it, also where the tests themselves run under nohup: an ignored signal is inherited.
    process = runner_process("slow", limit=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL))
    until(home.trial("slow-0").checkpoints.joinpath("state.json").exists)
    os.kill(process.pid, signal.SIGHUP)
    assert process.wait(timeout=20) == 129
    assert "trial_stopped" in home.study("demo").ledger.read_text()


def test_the_lock_names_nobody_once_it_is_let_go(session, home):
    session.run(make_plan(["ok"]))
    assert (home.study("demo").path / "lock").read_bytes() == b""


def test_what_does_not_save_in_time_is_ended_and_can_go_on(session, home, is_alive):
    result = session.run(make_plan(["stubborn", "fail"]), workers=2, max_failures=1, grace=0.5)
    assert result.exit_code == 3
    assert "trial_stopped stubborn-0" in session.events()
    assert not any(is_alive(int(pid)) for pid in (home.trial("stubborn-0").path / "pids").read_text().split())


def test_a_display_that_cannot_be_written_to_ends_no_run(session, home):
    class Closed:
        def write(self, text):
            raise BrokenPipeError

        def flush(self):
            raise BrokenPipeError

        encoding = "utf-8"

        def isatty(self):
            return False

    session.shown = Closed()
    result = session.run(make_plan(["ok"]))
    assert result.done == 1

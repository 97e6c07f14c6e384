"""Signals and crashes, on the runner as a program of its own."""

import os
import resource
import signal

import psutil
import pytest
from standins import STEPS, make_plan

from capo_bench.process.interrupt import Interrupts
from capo_bench.store.home import read_json


def started(home, trial):
    """Whether a stand-in has written its process numbers."""
    path = home.trial(trial).path / "pids"
    return [int(pid) for pid in path.read_text().split()] if path.exists() and path.read_text() else []


def begun(session, *trials):
    return lambda: all(f"trial_started {trial}" in session.events() for trial in trials)


EXPECTED = {"metrics": {"coins_test/accuracy": sum(range(STEPS)) / 10_000}, "cost": {"wall_seconds": 1.0}}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_lets_trials_save_and_the_next_run_goes_on(home, session, runner_process, until, number, code):
    process = runner_process("slow", "slow 2", "ok", workers=2)
    until(lambda: begun(session, "slow-0", "slow 2-0")() and home.trial("slow-0").log.exists())
    until(home.trial("slow 2-0").log.exists)
    process.send_signal(number)
    _, shown = process.communicate(timeout=20)
    assert process.returncode == code
    assert shown.count("Ctrl-C again ends them at once") == 1
    assert sorted(session.events()[-2:]) == ["trial_stopped slow 2-0", "trial_stopped slow-0"]
    assert "trial_started ok-0" not in session.events()
    saved = read_json(home.trial("slow-0").checkpoints / "state.json")["step"]
    assert 0 < saved < STEPS

    assert session.run(make_plan(["slow", "slow 2", "ok"])).exit_code == 0
    assert read_json(home.trial("slow-0").metrics) == EXPECTED


def test_the_second_signal_ends_at_once_with_all_that_trials_started(home, session, runner_process, until, is_alive):
    process = runner_process("stubborn", workers=1)
    pids = until(lambda: started(home, "stubborn-0"))
    process.send_signal(signal.SIGINT)
    with pytest.raises(Exception, match="timed out"):
        process.wait(1)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 130
    until(lambda: not any(map(is_alive, pids)))
    assert session.events()[-1] == "trial_stopped stubborn-0"


def test_a_cold_start_has_no_checkpoint_and_ends_at_the_first_signal(home, session, runner_process, until):
    process = runner_process("endless", workers=1)
    until((home.study("demo").path / "cold_start.log").exists)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 130
    assert session.events() == ["study_started"]


def test_workers_die_with_a_runner_that_is_killed_and_so_does_what_they_started(home, runner_process, until, is_alive):
    process = runner_process("stubborn", workers=1)
    pids = until(lambda: started(home, "stubborn-0"))
    assert len(pids) == 2
    process.kill()
    until(lambda: not any(map(is_alive, pids)))


def test_workers_die_with_a_runner_whose_guards_are_killed_with_it(home, runner_process, until, is_alive):
    process = runner_process("stubborn", workers=1)
    pids = until(lambda: started(home, "stubborn-0"))
    guards = [child for child in psutil.Process(process.pid).children(recursive=True) if child.name() == "sh"]
    assert guards
    for victim in (*guards, process):
        victim.kill()
    until(lambda: not any(map(is_alive, pids)))


def test_after_everything_was_killed_the_next_run_finishes_with_the_same_result(home, session, runner_process, until):
    process = runner_process("slow", workers=1)
    until((home.trial("slow-0").checkpoints / "state.json").exists)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not home.trial("slow-0").done
    assert session.run(make_plan(["slow"])).exit_code == 0
    assert read_json(home.trial("slow-0").metrics) == EXPECTED


def test_a_disk_that_fills_up_ends_the_run_with_a_clear_error_and_nothing_half_written(
    home, session, runner_process, until
):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (900, 900))

    process = runner_process("ok", "ok 2", "ok 3", "ok 4", "ok 5", workers=1, limit=limit)
    _, shown = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "plan.json: cannot keep the plan: File too large; free space" in shown
    assert session.run(make_plan(["ok", "ok 2", "ok 3", "ok 4", "ok 5"])).exit_code == 0
    assert session.events()[-1] == "study_finished"


def test_signals_are_recorded_and_the_handlers_put_back():
    before = signal.getsignal(signal.SIGINT)
    with Interrupts() as interrupts:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        assert (interrupts.signal, interrupts.urgent, interrupts.exit_code) == (signal.SIGTERM, True, 143)
    assert signal.getsignal(signal.SIGINT) is before

"""Stand-in trials through Ray: on an instance of its own, and on two nodes of which one is lost."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
import standins
from raystandins import descendants
from standins import make_plan

from capo_bench.run.cluster.connection import connect_to
from capo_bench.store.errors import RunError
from capo_bench.store.home import Home, read_json
from capo_bench.store.ledger import Ledger

pytest.importorskip("ray", reason="trials on a cluster need Ray: pip install 'capo-bench[ray]'")

HERE = Path(__file__).parent
PATHS = os.pathsep.join(str(path) for path in (HERE, HERE.parent, HERE.parents[3]))


def ends(executor, *jobs, on=lambda job, message: None):
    """Run jobs and return how each ended, by variant; `on` sees every message as it comes."""
    for job in jobs:
        executor.submit(job)
    found = {}
    for job, message in executor.events():
        on(job, message)
        if job is not None and message["kind"] == "end":
            assert job.trial.variant not in found
            found[job.trial.variant] = message
    return found


def test_what_happens_to_trials_is_what_happens_in_local_workers(cluster, home, session, tmp_path):
    plan = make_plan(["ok", "slow", "fail", "die", "chatty", "flood", "env"], cold=("ok",))
    result = session.run(plan, executor="ray", address=cluster.address, retries=0)
    assert (result.done, result.failed, result.exit_code) == (5, 2, 1)
    failed = {record["trial"]: record["error"] for record in session.records("trial_failed")}
    assert failed == {
        "fail-0": "ValueError: the reward is not a number",
        "die-0": "its worker process was killed by SIGKILL (out of memory?)",
    }
    assert "from a child process" in home.trial("chatty-0").log.read_text()
    assert 'raise ValueError("the reward' in home.trial("fail-0").log.read_text()
    assert read_json(home.trial("env-0").path / "env.json")["threads"] == "1"

    local = standins.Session(Home(tmp_path / "local"))
    local.run(plan, workers=2, retries=0)
    for trial in plan.trials:
        if home.trial(trial.id).done:
            assert read_json(home.trial(trial.id).metrics) == read_json(local.home.trial(trial.id).metrics)
    assert sum(home.trial(trial.id).done for trial in plan.trials) == 5


def test_a_worker_process_serves_many_jobs_and_a_failed_one_serves_none_after(ray_executor, job, home):
    names = ["env 1", "env 2", "env 3", "leaky", "env 4", "env 5", "env 6"]
    found = ends(ray_executor(count=1), *(job(name) for name in names))
    assert [end["status"] for end in found.values()] == ["done"] * 3 + ["failed"] + ["done"] * 3
    pids = [read_json(home.trial(f"{name}-0").path / "env.json")["pid"] for name in names]
    # Which of its idle processes gets the next job is Ray's choice, so one change or two are no fault.
    assert len(set(pids[:3])) < 3 or len(set(pids[4:])) < 3
    assert pids[3] not in pids[4:]


def test_messages_come_while_a_job_runs_and_ticks_between(ray_executor, job):
    heard = []
    ends(ray_executor(), job("slow"), on=lambda job, message: heard.append((time.monotonic(), message)))
    kinds = [message["kind"] for _, message in heard]
    steps = [(at, message["step"]) for at, message in heard if message["kind"] == "step"]
    assert [step for _, step in steps] == list(range(1, standins.STEPS + 1))
    assert steps[-1][0] - steps[0][0] > 1.0
    assert kinds[kinds.index("start") :].count("tick") >= 2
    assert next(kind for kind in kinds if kind != "tick") == "start"


def test_a_killed_job_ends_with_its_reason_and_its_children_with_it(ray_executor, job, home, is_alive):
    executor, stubborn = ray_executor(count=1), job("stubborn")
    pids = home.trial("stubborn-0").path / "pids"

    def kill(heard, message):
        if message["kind"] == "tick" and pids.exists() and pids.read_text().count(" ") == 1:
            executor.kill(stubborn, "train took more than 1 s", "timeout")

    found = ends(executor, stubborn, job("ok"), on=kill)
    told = {"kind": "end", "status": "failed", "error": "train took more than 1 s", "cause": "timeout"}
    assert found["stubborn"] == told
    assert found["ok"]["status"] == "done"
    assert not any(is_alive(pid) for pid in pids.read_text().split())


def test_a_stop_lets_jobs_save_and_starts_no_more_and_they_go_on_later(ray_executor, job, home):
    executor = ray_executor(count=1)

    def stop(heard, message):
        if message.get("step") == 5:
            executor.stop()

    assert ends(executor, job("slow"), job("ok"), on=stop) == {"slow": {"kind": "end", "status": "stopped"}}
    saved = read_json(home.trial("slow-0").checkpoints / "state.json")["step"]
    assert 5 <= saved < standins.STEPS
    executor.submit(job("ok"))  # ignored
    assert list(executor.events()) == []
    assert not home.trial("ok-0").path.exists()


def test_a_delayed_job_waits_and_others_pass_it(ray_executor, job):
    executor = ray_executor(count=1)
    began = time.monotonic()
    executor.submit(job("ok later"), delay=3.0)
    found = ends(executor, job("ok"))
    assert list(found) == ["ok", "ok later"]
    assert time.monotonic() - began >= 3.0


def test_a_job_that_no_node_has_room_for_is_refused_with_what_it_needs(ray_executor, job):
    with pytest.raises(RunError, match="no node of the Ray cluster has 1 cores and 64 accelerators"):
        ends(ray_executor(), job("ok", gpus=64))


def test_an_address_without_a_cluster_is_told_with_the_way_out():
    refused = pytest.raises(
        RunError, match=r"--address 127.0.0.1:1: no Ray cluster that can be joined.*docs/cluster.md"
    )
    with refused, connect_to("127.0.0.1:1", 1):
        pass


def node_of(executor, job):
    """Ray's id of the node that a job runs on."""
    return next(running.node for running in executor._running if running.job is job)


def test_a_node_that_does_not_see_the_results_folder_says_so(ray_executor, job, home):
    executor = ray_executor(log=home.path / "elsewhere" / "workers.log")
    (end,) = ends(executor, job("ok")).values()
    assert re.search(
        r"this node of the Ray cluster \(.+\) does not see the run's results folder .+ share", end["error"]
    )


def test_what_a_lost_node_had_begun_goes_on_elsewhere_to_the_same_table(two_nodes, ray_executor, job, home):
    executor = ray_executor()
    for seed in range(4):
        executor.submit(job("saving", seed, "raystandins:run_saving"))
    lost, steps = [], {}
    for heard, message in executor.events():
        if message["kind"] == "step":
            steps.setdefault(heard.trial.id, []).append(message["step"])
            if message["step"] == 25 and not lost and node_of(executor, heard) == two_nodes.second:
                lost.append(heard.trial.id)
                two_nodes.lose_second()
        if message.get("cause") == "lost":  # an executor tries nothing again: that is the runner's
            assert [heard.trial.id] == lost
            executor.submit(heard)
    assert lost
    begun_again = [after for before, after in pairwise(steps[lost[0]]) if after != before + 1]
    assert begun_again == [21]
    for seed in range(4):
        metrics = read_json(home.trial(f"saving-{seed}").metrics)["metrics"]
        assert metrics == {"coins_test/accuracy": 780 * (seed + 1) / 10_000}


def start_ray_program(home, *variants):
    return subprocess.Popen(
        [sys.executable, "-m", "raystandins", str(home.path), *variants],
        env=os.environ | {"PYTHONPATH": PATHS}, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def listening(pids):
    """Addresses on which processes listen to the network."""
    inodes = set()
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            try:
                inodes.add(str(descriptor.readlink()))
            except OSError:
                continue
    lines = [
        line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    return {line[1].rpartition(":")[0] for line in lines if line[3] == "0A" and f"socket:[{line[9]}]" in inodes}


LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F"}


def scratch_of(pids):
    """Folders that processes of Ray were told to work in."""
    told = [Path(f"/proc/{pid}/cmdline").read_text() for pid in pids]
    return {Path(found) for text in told for found in re.findall(r"/tmp/capo-ray-\w+", text)}


@pytest.fixture
def ray_program(home, until):
    """A program that runs trials through Ray, and the processes of it."""
    programs = []

    def start(*variants):
        process = start_ray_program(home, *variants)
        until(lambda: all(home.trial(f"{name}-0").log.exists() for name in variants), 60.0)
        if "stubborn" in variants:
            until((home.trial("stubborn-0").path / "pids").exists)
        programs.append((process, started := descendants(process.pid)))
        return process, started

    yield start
    for process, started in programs:
        process.stderr.close()
        for pid in (process.pid, *started):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.nightly), signal.SIGTERM])
def test_a_signal_to_the_whole_group_lets_trials_save_and_leaves_nothing(home, ray_program, until, is_alive, number):
    """As a terminal and a scheduler send it."""
    process, started = ray_program("steady", "steady 2")
    (scratch,) = scratch_of(started)
    assert listening(started) == LOOPBACK
    os.killpg(process.pid, number)
    assert process.wait(30) == 128 + number
    until(lambda: not any(map(is_alive, started)))
    assert not scratch.exists()
    events = [record["event"] for record in Ledger(home.study("demo").ledger).read()]
    assert events.count("trial_stopped") == 2
    assert all((home.trial(name).checkpoints / "state.json").exists() for name in ("steady-0", "steady 2-0"))


@pytest.mark.nightly
def test_the_second_signal_ends_a_trial_that_does_not_stop_by_itself(ray_program, until, is_alive):
    process, started = ray_program("steady", "stubborn")
    (scratch,) = scratch_of(started)
    os.killpg(process.pid, signal.SIGTERM)
    time.sleep(1.0)
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(30) == 128 + signal.SIGTERM
    until(lambda: not any(map(is_alive, started)))
    assert not scratch.exists()


@pytest.mark.parametrize("victim", ["program", pytest.param("relay", marks=pytest.mark.nightly)])
def test_what_a_trial_started_does_not_outlive_those_above_it(home, ray_program, until, is_alive, victim):
    process, started = ray_program("stubborn")
    (scratch,) = scratch_of(started)
    relays = [pid for pid in started if "ray::trial" in Path(f"/proc/{pid}/cmdline").read_text()]
    pids = (home.trial("stubborn-0").path / "pids").read_text().split()
    os.kill(process.pid if victim == "program" else relays[0], signal.SIGKILL)
    until(lambda: not any(map(is_alive, pids)))
    process.kill()
    shutil.rmtree(scratch, ignore_errors=True)


def served(gpus, *variants):
    critic = {**standins.SERVED, "serve": {"gpus": gpus, "tensor_parallel_size": gpus}}
    return make_plan([*variants], critic=critic)


@pytest.mark.usefixtures("standin_vllm")
def test_a_critic_is_served_beside_the_runner_on_gpus_that_no_job_is_given(two_nodes, home, session):
    plan = served(2, "asks", "asks 2")
    assert session.run(plan, executor="ray", address=two_nodes.address, retries=0).exit_code == 0
    (started,) = standins.servers_started()
    assert len(set(started["gpus"].split(",")) & {"0", "1", "2"}) == 2
    seen = {read_json(home.trial(trial.id).path / "env.json")["gpus"] for trial in plan.trials}
    assert not any(seen)


@pytest.mark.usefixtures("standin_vllm")
def test_a_node_that_has_not_the_gpus_of_the_critic_is_told(cluster, session):
    told = "the server of critic 'org/critic' asks for 4 GPUs of its own, and this node of the Ray cluster has 3 left"
    with pytest.raises(RunError, match=told):
        session.run(served(4, "asks"), executor="ray", address=cluster.address)
    assert standins.servers_started() == []

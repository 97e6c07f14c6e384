"""A study of a thousand trials takes no more memory, descriptors, threads or disk at its end than near its start.

The runner is a process of its own, looked at from outside while it works: what it and its workers hold after 200 trials
against what they hold after 1,000.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from capo_bench.store.home import Home

HERE = Path(__file__).parent
TRIALS, FIRST, LAST = 1000, 200, 950
KIB = 1024
MEMORY_A_TRIAL = 2 * KIB
LEDGER_A_TRIAL = 512
RUNNER = """
import sys
from pathlib import Path
import standins
from capo_bench.store.home import Home
from capo_bench.run.progress import Display
from capo_bench.run.runner import RunOptions
from capo_bench.run.session import run_study
home, trials = Path(sys.argv[1]), int(sys.argv[2])
plan = standins.make_plan(["ok", "chatty"], seeds=range(trials // 2))
options = RunOptions(workers=2, track=False, task=standins.TASK, prepare=standins.PREPARE)
sys.exit(run_study(plan, Home(home), options, Display(file=open(home / "shown", "w"), width=200)).exit_code)
"""


@dataclass(frozen=True)
class Held:
    """What a process holds: bytes of memory, open files, threads."""

    memory: int
    files: int
    threads: int


@contextmanager
def running(home: Home) -> Iterator[subprocess.Popen[bytes]]:
    home.path.mkdir()
    env = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW")}
    env |= {"PYTHONPATH": f"{HERE}{os.pathsep}{HERE.parents[2]}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", RUNNER, str(home.path), str(TRIALS)]
    process = subprocess.Popen(command, env=env)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def held(pid: int) -> Held:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return Held(int(status["VmRSS"].split()[0]) * KIB, files, int(status["Threads"]))


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sorted(int(child) for task in tasks for child in (task / "children").read_text().split())


def look(pid: int) -> dict[str, Held]:
    """The runner and its workers, by what they are."""
    found = {f"worker {number}": held(child) for number, child in enumerate(children(pid))}
    return {"runner": held(pid), **found}


def wait_for(home: Home, count: int, process: subprocess.Popen[bytes]) -> None:
    ledger, until = home.study("demo").ledger, time.monotonic() + 120
    while not ledger.exists() or ledger.read_bytes().count(b'"trial_done"') < count:
        assert process.poll() is None, "the runner ended early"
        assert time.monotonic() < until
        time.sleep(0.02)


def kept_beside_trials(home: Home) -> dict[str, int]:
    """Bytes of what is neither a trial's own nor the news of the moment, by file."""
    folder = home.study("demo").path
    names = [path.name for path in folder.iterdir() if "now.json" not in path.name]
    return {name: (folder / name).stat().st_size for name in names}


@pytest.mark.slow
def test_memory_descriptors_threads_and_disk_stay_flat_over_a_thousand_trials(tmp_path: Path) -> None:
    home = Home(tmp_path / "runs")
    with running(home) as process:
        wait_for(home, FIRST, process)
        early, disk = look(process.pid), kept_beside_trials(home)
        wait_for(home, LAST, process)
        late, disk_late = look(process.pid), kept_beside_trials(home)
        assert process.wait(60) == 0

    assert early.keys() == late.keys() == {"runner", "worker 0", "worker 1"}
    for who, before in early.items():
        grown = (late[who].memory - before.memory) / (LAST - FIRST)
        assert grown < MEMORY_A_TRIAL, f"{who}: {grown:.0f} bytes a trial"
        # A log, a lock and what a trial writes now are open or not, at the moment of the look; so is its log's thread.
        assert abs(late[who].files - before.files) <= 6, (who, before, late[who])
        assert abs(late[who].threads - before.threads) <= 1, (who, before, late[who])
    assert disk.keys() == disk_late.keys() == {"ledger.jsonl", "lock", "workers.log", "profiles"}
    assert disk_late["workers.log"] == disk["workers.log"] == 0
    assert (disk_late["ledger.jsonl"] - disk["ledger.jsonl"]) / (LAST - FIRST) < LEDGER_A_TRIAL
    assert sum(home.trial(f"ok-{seed}").done for seed in range(TRIALS // 2)) == TRIALS // 2
    assert not (home.path / "cache").exists()

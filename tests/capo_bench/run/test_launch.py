"""A trial trained by two processes (gloo, on the CPU): through all its stages, stopped, killed, failing."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from capo_bench.home import Home, TrialFolder, read_json
from capo_bench.run import stages
from capo_bench.run.attempt import Attempt
from capo_bench.run.failures import cause_of
from capo_bench.run.launch import RankError, launch
from capo_bench.run.rank import read_job, write_job
from capo_bench.run.training import Training
from capo_bench.study import identity
from capo_bench.study.identity import digest, identity_of, trial_id, with_seed
from capo_bench.study.plan import Trial
from trainers.backbones import OWN_FOLDER
from trainers.config import TrialConfig

PAIR = "source: embedded\nwidth: 32\nlayers: 2\nprocesses: 2\n"
SMALL: dict[str, Any] = {
    "backbone": "pair",
    "cold_start": {"steps": 4, "problems_per_step": 16},
    "train": {"steps": 8, "prompts_per_step": 1, "group_size": 4, "max_completion_tokens": 12},
    "credit": {"critiques": 2},
    "critic": {"name": "noisy"},
    "evaluation": {"tasks": ["coins_test"], "problems": 4, "max_completion_tokens": 12},
}


STEPS = [*range(1, 9)]


@pytest.fixture(autouse=True)
def own_backbones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A backbone of the user's own, which the launched processes see as well."""
    torch.set_num_threads(1)
    folder = tmp_path / "backbones"
    folder.mkdir()
    (folder / "pair.yaml").write_text(PAIR)
    monkeypatch.setenv(OWN_FOLDER, str(folder))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    identity._backbone.cache_clear()
    yield
    identity._backbone.cache_clear()
    assert not launched(), "processes are left"


def launched() -> list[psutil.Process]:
    """What this process has started, and what that has started: launchers, and processes that train."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if process.status() != psutil.STATUS_ZOMBIE and "capo_bench.run" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def make_trial(seed: int = 0, **changes: Any) -> Trial:
    config = TrialConfig.model_validate({**SMALL, **changes})
    parts = identity_of(config)
    return Trial(trial_id(digest(parts), seed), "v", seed, config, with_seed(parts, seed))


def run(trial: Trial, home: Home, stop: Any = lambda: False) -> tuple[bool, list[dict[str, Any]]]:
    events: list[dict[str, Any]] = []
    return stages.run_trial(trial, home, events.append, stop, Attempt(checkpoint_seconds=0)), events


def records(folder: TrialFolder) -> list[dict[str, Any]]:
    return [json.loads(line) for line in folder.steps.read_text().splitlines()]


def steps_told(events: list[dict[str, Any]]) -> list[int]:
    return [event["step"] for event in events if event["kind"] == "step"]


@pytest.mark.slow
def test_two_processes_train_a_trial_and_neither_a_stop_nor_a_kill_changes_it(tmp_path: Path) -> None:
    home, trial = Home(tmp_path / "whole"), make_trial()
    done, events = run(trial, home)
    whole = home.trial(trial.id)
    assert done
    assert steps_told(events) == STEPS
    assert [record["step"] for record in records(whole)] == STEPS
    # Both processes sampled, and the record counts the rollouts of both.
    assert len(list(whole.rollouts.glob("00001.*"))) == 2
    assert records(whole)[0]["critiques"] == 4 * 2
    assert not (whole.path / ".launch").exists()

    home = Home(tmp_path / "parts")
    parts = home.trial(trial.id)
    done, events = run(trial, home, stop=lambda: True)
    assert not done
    assert steps_told(events) == [1]
    assert not parts.model.exists()

    def kill(event: dict[str, Any]) -> None:
        if event["kind"] == "step":
            for process in launched():
                if "capo_bench.run.rank" in process.cmdline() and process.environ().get("RANK") == "1":
                    process.kill()

    with pytest.raises(RankError, match="process 1 of 2 was killed by SIGKILL"):
        stages.run_trial(trial, home, kill, lambda: False, Attempt(2, checkpoint_seconds=0))
    assert not launched()
    assert not parts.model.exists()

    done, events = run(trial, home)
    assert done
    assert steps_told(events) == STEPS[-len(steps_told(events)) :]
    assert [record["step"] for record in records(parts)] == STEPS
    assert read_json(parts.metrics)["metrics"] == read_json(whole.metrics)["metrics"]
    weights = "model.safetensors"
    assert (parts.model / weights).read_bytes() == (whole.model / weights).read_bytes()


RANK = '''
"""A process that is launched, as quick as can be: no training, no torch."""
import json, os, pathlib, signal, sys, time
from capo_bench.run import rank as real
folder, rank, how = pathlib.Path(sys.argv[1]), int(os.environ["RANK"]), {how!r}
def train_rank(folder, rank):
    training = real.read_job(folder)
    (folder.parent / f"{{rank}}.pid").write_text(str(os.getpid()))
    if rank == 1 and how != "whole" and how != "wait":
        raise_or_die()
    if rank == 0:
        with training.folder.steps.open("a") as log:
            for step in (1, 2):
                log.write(json.dumps({{"step": step, "of": 2, "loss": 0.5}}))
                log.flush()
                time.sleep(0.3)
                log.write("\\n")
    while how != "whole" and not (folder / real.STOP).exists():
        time.sleep(0.05)
    return how == "whole"
def raise_or_die():
    if how == "memory":
        import torch
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    if how == "disk":
        raise OSError(28, "No space left on device")
    if how == "error":
        raise ValueError("the critic is not there")
    os.kill(os.getpid(), signal.SIGKILL)
real.train_rank = train_rank
real.main()
'''


@pytest.fixture
def training(tmp_path: Path) -> Training:
    folder = TrialFolder(tmp_path / "trial")
    folder.path.mkdir()
    return Training(
        make_trial(), folder, "start", None, tmp_path / "prm", tmp_path / "critiques", None, Attempt(2, 4, 7.5)
    )


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that names a module of quick processes which end as told."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def module(how: str) -> str:
        (tmp_path / f"quick_{how}.py").write_text(RANK.format(how=how))
        return f"quick_{how}"

    return module


def pids(training: Training) -> list[int]:
    return [int(path.read_text()) for path in sorted(training.folder.path.glob("*.pid"))]


def gone(numbers: list[int], seconds: float = 10.0) -> bool:
    until = time.monotonic() + seconds
    while any(psutil.pid_exists(number) for number in numbers) and time.monotonic() < until:
        time.sleep(0.05)
    return not any(psutil.pid_exists(number) for number in numbers)


def test_a_job_is_read_as_it_was_written(training: Training, tmp_path: Path) -> None:
    write_job(training, tmp_path / "talk")
    read = read_job(tmp_path / "talk")
    assert read.trial.as_json() == training.trial.as_json()
    assert (read.folder, read.start, read.critic, read.prm) == (training.folder, "start", None, training.prm)
    assert (read.critiques, read.resume, read.attempt) == (training.critiques, None, Attempt(2, 4, 7.5))


def test_every_step_is_told_once_and_only_when_its_line_is_whole(training: Training, quick: Any) -> None:
    training.folder.steps.write_text('{"step": 0, "of": 2}\n')  # of an earlier try: told then
    events: list[dict[str, Any]] = []
    assert launch(training, events.append, lambda: False, quick("whole"))
    assert events == [{"kind": "step", "step": step, "of": 2, "metrics": {"loss": 0.5}} for step in (1, 2)]
    assert gone(pids(training))
    assert len(pids(training)) == 2


def test_asked_to_stop_all_processes_return(training: Training, quick: Any) -> None:
    def stop() -> bool:
        return len(pids(training)) == 2

    assert not launch(training, lambda event: None, stop, quick("wait"))
    assert gone(pids(training))


@pytest.mark.parametrize(
    ("how", "cause", "told"),
    [
        ("memory", "memory", r"^process 1 of 2: OutOfMemoryError: CUDA out of memory\. Tried to allocate"),
        ("disk", "disk", r"^process 1 of 2: OSError: \[Errno 28\] No space left on device"),
        ("error", "other", r"^process 1 of 2: ValueError: the critic is not there$"),
        ("killed", "lost", r"^process 1 of 2 was killed by SIGKILL \(out of memory\?\)$"),
    ],
)
def test_a_process_that_fails_ends_all_and_its_error_is_told(
    how: str, cause: str, told: str, training: Training, quick: Any
) -> None:
    with pytest.raises(RankError, match=told) as raised:
        launch(training, lambda event: None, lambda: False, quick(how))
    assert cause_of(raised.value) == cause
    assert gone(pids(training))


def test_nothing_outlives_a_launcher_that_is_killed(training: Training, quick: Any) -> None:
    def kill() -> None:
        while len(pids(training)) < 2:
            time.sleep(0.05)
        launcher = psutil.Process(pids(training)[0]).parent()
        assert launcher is not None
        os.kill(launcher.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(RankError, match="the launcher of 2 processes was killed by SIGKILL") as raised:
        launch(training, lambda event: None, lambda: False, quick("wait"))
    assert cause_of(raised.value) == "lost"
    killer.join()
    assert gone(pids(training))


def test_nothing_outlives_an_error_of_the_one_that_listens(training: Training, quick: Any) -> None:
    def emit(event: dict[str, Any]) -> None:
        raise BrokenPipeError("the runner is gone")

    with pytest.raises(BrokenPipeError):
        launch(training, emit, lambda: False, quick("wait"))
    assert gone(pids(training))

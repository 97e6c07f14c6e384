"""Processes that work for a trial: one or two (gloo, on the CPU), through all stages, stopped, killed, failing."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from capo_bench.run import stages
from capo_bench.run.executor import Attempt
from capo_bench.run.failures import find_cause
from capo_bench.run.launch import RankError, _follow_events, describe_one_process, describe_training_processes, launch
from capo_bench.run.training import Training
from capo_bench.store.home import Home, TrialFolder, read_json
from capo_bench.study import identity
from capo_bench.study.identity import add_seed, hash_plain, identify_trial, make_trial_id
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
    identity._identify_backbone.cache_clear()
    yield
    identity._identify_backbone.cache_clear()
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
    parts = identify_trial(config)
    return Trial(make_trial_id(hash_plain(parts), seed), "v", seed, config, add_seed(parts, seed))


def run(trial: Trial, home: Home, stop: Any = lambda: False) -> tuple[bool, list[dict[str, Any]]]:
    events: list[dict[str, Any]] = []
    return stages.run_trial(trial, home, events.append, stop, Attempt(checkpoint_seconds=0)), events


def records(folder: TrialFolder) -> list[dict[str, Any]]:
    return [json.loads(line) for line in folder.steps.read_text().splitlines()]


def steps_told(events: list[dict[str, Any]]) -> list[int]:
    return [event["step"] for event in events if event["kind"] == "step"]


@pytest.mark.nightly
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
                if "capo_bench.run.work" in process.cmdline() and process.environ().get("RANK") == "1":
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


WORK = '''
"""What launched processes do, as quick as can be: no training, no torch."""
import json, os, pathlib, signal, sys, time
from capo_bench.run import work as real
how = {how!r}
def work(settings, rank, emit, stop):
    (pathlib.Path(settings["pids"]) / f"{{rank}}.pid").write_text(str(os.getpid()))
    if rank == settings["fails"] and how not in ("whole", "wait"):
        raise_or_die()
    for step in (1, 2):
        emit({{"kind": "step", "step": step, "of": 2, "metrics": {{"loss": 0.5}}}})
        time.sleep(0.3)
    while how != "whole" and not stop():
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
    if how == "exit":
        os._exit(3)
    os.kill(os.getpid(), signal.SIGKILL)
'''


@pytest.fixture
def training(tmp_path: Path) -> Training:
    folder = TrialFolder(tmp_path / "trial")
    return Training(
        make_trial(), folder, "start", None, tmp_path / "prm", tmp_path / "critiques", None, Attempt(2, 4, 7.5)
    )


Launch = Callable[..., bool]


@pytest.fixture
def launching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Launch:
    """Return a function that launches quick processes which end as told."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def start(how: str, count: int = 2, emit: Any = lambda event: None, stop: Any = lambda: False) -> bool:
        (tmp_path / f"quick_{how}.py").write_text(WORK.format(how=how))
        settings = {"pids": str(tmp_path), "fails": count - 1}
        processes = describe_training_processes("pair") if count == 2 else describe_one_process()
        return launch(f"quick_{how}:work", settings, processes, tmp_path / "talk", emit, stop)

    return start


def pids(folder: Path) -> list[int]:
    return [int(path.read_text()) for path in sorted(folder.glob("*.pid"))]


def gone(numbers: list[int], seconds: float = 10.0) -> bool:
    until = time.monotonic() + seconds
    while any(psutil.pid_exists(number) for number in numbers) and time.monotonic() < until:
        time.sleep(0.05)
    return not any(psutil.pid_exists(number) for number in numbers)


def test_a_training_is_read_as_it_was_written(training: Training) -> None:
    read = Training.from_json(json.loads(json.dumps(training.as_json())))
    assert read.trial.as_json() == training.trial.as_json()
    assert (read.folder, read.start, read.critic, read.prm) == (training.folder, "start", None, training.prm)
    assert (read.critiques, read.resume, read.attempt) == (training.critiques, None, Attempt(2, 4, 7.5))


@pytest.mark.parametrize("count", [1, 2])
def test_what_the_first_process_tells_is_heard_once(count: int, launching: Launch, tmp_path: Path) -> None:
    events: list[dict[str, Any]] = []
    assert launching("whole", count, events.append)
    assert events == [{"kind": "step", "step": step, "of": 2, "metrics": {"loss": 0.5}} for step in (1, 2)]
    assert gone(pids(tmp_path))
    assert len({*pids(tmp_path), os.getpid()}) == count + 1
    assert not (tmp_path / "talk").exists()


def test_a_line_that_is_not_whole_is_not_told_yet(tmp_path: Path) -> None:
    heard = _follow_events(tmp_path / "events.jsonl")
    assert next(heard) is None
    with (tmp_path / "events.jsonl").open("w") as file:
        for text, told in (
            ('{"step": 1}\n{"st', [{"step": 1}, None]),
            ('ep": 2}', [None]),
            ("\n", [{"step": 2}, None]),
        ):
            file.write(text)
            file.flush()
            assert [next(heard) for _ in told] == told


@pytest.mark.parametrize("count", [1, 2])
def test_asked_to_stop_all_processes_return(count: int, launching: Launch, tmp_path: Path) -> None:
    assert not launching("wait", count, stop=lambda: len(pids(tmp_path)) == count)
    assert gone(pids(tmp_path))


@pytest.mark.parametrize(
    ("how", "cause", "told"),
    [
        ("memory", "memory", r": OutOfMemoryError: CUDA out of memory\. Tried to allocate"),
        ("disk", "disk", r": OSError: \[Errno 28\] No space left on device"),
        ("error", "other", r": ValueError: the critic is not there$"),
        ("killed", "lost", r" was killed by SIGKILL \(out of memory\?\)$"),
    ],
)
@pytest.mark.parametrize(("count", "name"), [(1, "^its process"), (2, "^process 1 of 2")])
def test_a_process_that_fails_ends_all_and_its_error_is_told(
    how: str, cause: str, told: str, count: int, name: str, launching: Launch, tmp_path: Path
) -> None:
    with pytest.raises(RankError, match=name + told) as raised:
        launching(how, count)
    assert find_cause(raised.value) == cause
    assert gone(pids(tmp_path))


def test_a_process_that_says_nothing_is_told_by_its_exit_code(launching: Launch) -> None:
    with pytest.raises(RankError, match="the process ended with exit code 3; the trial's log says more"):
        launching("exit", 1)


def test_nothing_outlives_a_launcher_that_is_killed(launching: Launch, tmp_path: Path) -> None:
    def kill() -> None:
        while len(pids(tmp_path)) < 2:
            time.sleep(0.05)
        launcher = psutil.Process(pids(tmp_path)[0]).parent()
        assert launcher is not None
        os.kill(launcher.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(RankError, match="the launcher of 2 processes was killed by SIGKILL") as raised:
        launching("wait")
    assert find_cause(raised.value) == "lost"
    killer.join()
    assert gone(pids(tmp_path))


@pytest.mark.parametrize("count", [1, 2])
def test_nothing_outlives_an_error_of_the_one_that_listens(count: int, launching: Launch, tmp_path: Path) -> None:
    def emit(event: dict[str, Any]) -> None:
        raise BrokenPipeError("the runner is gone")

    with pytest.raises(BrokenPipeError):
        launching("wait", count, emit)
    assert gone(pids(tmp_path))


def test_a_process_dies_with_the_one_that_started_it(launching: Launch, tmp_path: Path) -> None:
    listener = os.fork()
    if listener == 0:
        try:
            launching("wait", 1)
        finally:
            os._exit(0)
    while not pids(tmp_path):
        time.sleep(0.05)
    os.kill(listener, signal.SIGKILL)
    os.waitpid(listener, 0)
    assert gone(pids(tmp_path))


def test_one_process_is_none_of_a_group_whatever_stands_in_the_environment(
    launching: Launch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "elsewhere"}.items():
        monkeypatch.setenv(name, value)
    events: list[dict[str, Any]] = []
    assert launching("whole", 1, events.append)
    assert len(events) == 2  # by the first process, as it is the only one
    assert [path.name for path in tmp_path.glob("*.pid")] == ["0.pid"]

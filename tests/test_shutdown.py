"""What asks a run to end, through the command line: exit codes, nothing left behind, and the same command goes on."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from capo_bench.store.home import Home, TrialFolder, read_json
from trainers.backbones import OWN_FOLDER

STUDY = """
name: stopped
question: Does whatever ends a run change its result?
baseline: capo
start: start
metrics: [coins_test/accuracy]
base:
  method: capo
  critic: {name: noisy}
  cold_start: {steps: 4, problems_per_step: 16}
  train: {steps: 40, prompts_per_step: 2, group_size: 4, max_completion_tokens: 40}
  evaluation: {tasks: [coins_test], problems: 8, max_completion_tokens: 40}
include:
  - {name: capo, set: {method: capo}}
  - {name: start, set: {method: sft}}
seeds: [0]
"""
PAIR = "source: embedded\nwidth: 32\nlayers: 2\nprocesses: 2\n"
PATIENCE = 300
"""Seconds until something that has to come is given up."""


class Run:
    """`capo-bench run` of one trial on a terminal of its own, with all processes that it starts.

    Attributes:
        screen: What it wrote on the terminal.
    """

    def __init__(
        self, folder: Path, *more: str, environment: dict[str, str] | None = None, nohup: bool = False
    ) -> None:
        self.home, self.screen, self._mark = Home(folder / "home"), b"", uuid.uuid4().hex
        self._terminal, other = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "capo_bench", "run", "stopped.yaml", "--only", "capo", "--home", "home", *more],
            cwd=folder,
            env={**os.environ, **(environment or {}), "MARK_OF_A_TEST": self._mark},
            stdin=other,
            stdout=other,
            stderr=other,
            start_new_session=True,
            preexec_fn=lambda: _take_terminal(nohup=nohup),  # noqa: PLW1509 - no threads here
        )
        os.close(other)
        os.set_blocking(self._terminal, False)

    def steps(self) -> int:
        """How many steps its trial has recorded, in this and earlier runs."""
        return sum(path.read_bytes().count(b"\n") for path in self.home.path.rglob("steps.jsonl"))

    def until(self, condition: Callable[[], Any]) -> None:
        """Return when something is so; it has to be before the command ends."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert self.process.poll() is None, self._read()
            assert time.monotonic() < deadline, self._read()
            time.sleep(0.02)
            self._read()

    def press_ctrl_c(self) -> None:
        """Press the keys: the terminal signals all processes of its foreground."""
        os.write(self._terminal, b"\x03")

    def close_terminal(self) -> None:
        """Close the window."""
        os.close(self._terminal)
        self._terminal = -1

    def end(self) -> int:
        """Wait for the end and return the exit code."""
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < deadline, self._read()
            time.sleep(0.02)
            self._read()
        self._read()
        return self.process.returncode

    def processes(self) -> list[psutil.Process]:
        """What lives of the command and of all that it started, in whatever session or group."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("MARK_OF_A_TEST") == self._mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def ports(self) -> set[int]:
        """Ports on which any of them listens."""
        return {
            connection.laddr.port
            for process in self.processes()
            for connection in process.net_connections(kind="tcp")
            if connection.status == psutil.CONN_LISTEN
        }

    def events(self) -> list[str]:
        """The ledger's events, oldest first."""
        return [json.loads(line)["event"] for line in self.home.study("stopped").ledger.read_text().splitlines()]

    def assert_nothing_is_left(self) -> None:
        """No process, and a lock that names nobody and can be had."""
        assert self.processes() == []
        lock = self.home.study("stopped").path / "lock"
        assert lock.read_bytes() == b""
        with lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def kill(self) -> None:
        """End what a failed test left."""
        for process in self.processes():
            process.kill()
        self.process.wait()
        if self._terminal >= 0:
            os.close(self._terminal)

    def _read(self) -> str:
        try:
            while self._terminal >= 0 and (some := os.read(self._terminal, 65536)):
                self.screen += some
        except OSError:  # nothing to read now, or nobody at the other end
            pass
        return self.screen.decode(errors="replace")


def _take_terminal(*, nohup: bool) -> None:
    """Make standard input this process's terminal, whether the tests themselves run under nohup or not."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN if nohup else signal.SIG_DFL)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    (tmp_path / "stopped.yaml").write_text(STUDY)
    runs: list[Run] = []

    def begin(*more: str, folder: Path = tmp_path, nohup: bool = False, **environment: str) -> Run:
        runs.append(Run(folder, *more, environment=environment, nohup=nohup))
        return runs[-1]

    yield begin
    for run in runs:
        run.kill()


@pytest.mark.nightly
def test_whatever_ends_a_run_nothing_is_left_and_the_same_command_ends_as_an_unbroken_one(
    start: Callable[..., Run], tmp_path: Path
) -> None:
    ways: list[tuple[int, Callable[[Run], None]]] = [
        (130, Run.press_ctrl_c),
        (143, lambda run: run.process.send_signal(signal.SIGTERM)),
        (129, Run.close_terminal),
    ]
    for number, (code, way) in enumerate(ways, 1):
        run = start()
        before = run.steps()
        run.until(lambda run=run, before=before: run.steps() > before)
        way(run)
        assert run.end() == code
        run.assert_nothing_is_left()
        assert run.events().count("trial_stopped") == number
        assert run.events()[-1] == "trial_stopped"
        # The step under way was finished and saved.
        (trial,) = run.home.path.glob("trials/*")
        saved = read_json(TrialFolder(trial).checkpoints / "resume.json")
        assert saved["step"] == run.steps() > before

    last = start("--no-tracking")
    assert last.end() == 0
    last.assert_nothing_is_left()
    whole = tmp_path / "whole"
    whole.mkdir()
    (whole / "stopped.yaml").write_text(STUDY)
    unbroken = start("--no-tracking", folder=whole)
    assert unbroken.end() == 0
    (one,), (other,) = (list(run.home.path.glob("trials/*")) for run in (last, unbroken))
    assert read_json(one / "metrics.json")["metrics"] == read_json(other / "metrics.json")["metrics"]
    (start_of_all,) = run.home.path.glob("stages/cold_start/*/model.safetensors")
    weights = [(TrialFolder(trial).model / "model.safetensors").read_bytes() for trial in (one, other)]
    assert weights[0] != start_of_all.read_bytes()  # it has learnt something
    assert weights[0] == weights[1]


def test_ctrl_c_saves_the_step_under_way_and_the_same_command_goes_on(start: Callable[..., Run]) -> None:
    more = ["--set", "train.steps=8", "--no-tracking"]
    run = start(*more)
    run.until(lambda: run.steps() > 0)
    run.press_ctrl_c()
    assert run.end() == 130
    run.assert_nothing_is_left()
    (trial,) = run.home.path.glob("trials/*")
    assert read_json(TrialFolder(trial).checkpoints / "resume.json")["step"] == run.steps()
    last = start(*more)
    assert last.end() == 0
    last.assert_nothing_is_left()
    assert (last.steps(), last.events().count("trial_stopped")) == (8, 1)


@pytest.mark.nightly
def test_under_nohup_a_run_goes_on_to_its_report_when_its_terminal_is_closed(start: Callable[..., Run]) -> None:
    run = start("--set", "train.steps=6", "--no-tracking", nohup=True)
    run.until(lambda: run.steps() > 0)
    run.close_terminal()
    assert run.end() == 0
    run.assert_nothing_is_left()
    assert "study_finished" in run.events()
    assert (run.home.study("stopped").profile("quick").report / "report.html").is_file()


@pytest.mark.nightly
def test_ctrl_c_twice_ends_two_processes_of_one_trial_at_once_and_closes_their_port(
    start: Callable[..., Run], tmp_path: Path
) -> None:
    (tmp_path / "backbones").mkdir()
    (tmp_path / "backbones" / "pair.yaml").write_text(PAIR)
    more = ["--set", "backbone=pair", "--set", "train.steps=2000", "--no-tracking"]
    run = start(*more, **{OWN_FOLDER: str(tmp_path / "backbones")})
    run.until(lambda: run.steps() > 0)
    assert len(run.processes()) >= 4, "the command, its worker and two that train"
    ports = run.ports()
    assert ports, "two that train meet at a port"
    run.press_ctrl_c()
    run.until(lambda: b"Ctrl-C again" in run.screen)
    run.press_ctrl_c()
    assert run.end() == 130
    run.assert_nothing_is_left()
    listening = {c.laddr.port for c in psutil.net_connections(kind="tcp") if c.status == psutil.CONN_LISTEN}
    assert not ports & listening
    assert run.events()[-1] == "trial_stopped"

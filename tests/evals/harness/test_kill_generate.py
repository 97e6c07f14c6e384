"""SIGKILL, at moments that nobody chose: at most the batch in flight is lost, and the end is the same."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from dicemodel import DiceModel, coins_task, generate

from evals.harness.folder import read_whole_batches

PROGRAM = Path(__file__).with_name("dicemodel.py")
TASK, BATCHES = coins_task(10, 4), 10


def size(folder):
    path = folder / "generations.jsonl"
    return path.stat().st_size if path.exists() else 0


def run_and_kill(folder, delay):
    """Start an evaluation and kill it `delay` seconds after it has written something new; return how it ended."""
    before = size(folder)
    with subprocess.Popen([sys.executable, str(PROGRAM), str(folder)]) as process:
        while process.poll() is None and size(folder) <= before:
            time.sleep(0.002)
        time.sleep(delay)
        process.kill()
        return process.wait()


@pytest.mark.parametrize("luck", range(3))
def test_killed_again_and_again_it_ends_with_the_same_bytes(tmp_path, luck):
    rng, killed = random.Random(luck), 0
    generate(TASK, DiceModel(), tmp_path / "whole", seed=5)
    code = -signal.SIGKILL
    while code == -signal.SIGKILL:
        known, _ = read_whole_batches(tmp_path / "cut" / "generations.jsonl")
        code = run_and_kill(tmp_path / "cut", rng.uniform(0, 0.07))
        now, _ = read_whole_batches(tmp_path / "cut" / "generations.jsonl")
        assert now[: len(known)] == known  # what was there is never lost
        killed += code == -signal.SIGKILL
    assert code == 0
    assert 1 <= killed <= BATCHES
    assert (tmp_path / "cut/generations.jsonl").read_bytes() == (tmp_path / "whole/generations.jsonl").read_bytes()


def test_killed_before_the_first_word_it_starts_afresh(tmp_path):
    with subprocess.Popen([sys.executable, str(PROGRAM), str(tmp_path / "cut")]) as process:
        while not (tmp_path / "cut").exists():
            time.sleep(0.002)
        process.kill()
    generate(TASK, DiceModel(), tmp_path / "whole", seed=5)
    assert generate(TASK, DiceModel(), tmp_path / "cut", seed=5) is True
    assert (tmp_path / "cut/generations.jsonl").read_bytes() == (tmp_path / "whole/generations.jsonl").read_bytes()

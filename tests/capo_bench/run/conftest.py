import os
import subprocess
import sys
from pathlib import Path

import pytest
import standins

from capo_bench.store.home import Home

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
STANDIN = (ROOT / "tests", ROOT / "tests" / "standin_vllm")
"""Where the stand-in for vLLM is, and what it imports."""


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "runs")


@pytest.fixture
def session(home):
    return standins.Session(home)


@pytest.fixture
def standin_vllm(monkeypatch, tmp_path):
    """Have the stand-in take the place of vLLM; what starts it finds no GPU."""
    for folder in STANDIN:
        monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("STANDIN_VLLM", str(tmp_path / "started"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.fixture
def runner_process(home):
    """Starts the runner as a program of its own; whatever is left of it is killed at the end."""
    started = []

    def start(*variants, workers=2, limit=None, paths=()):
        process = subprocess.Popen(
            [sys.executable, "-m", "standins", str(home.path), str(workers), *variants],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (HERE, ROOT, *paths)))},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=limit,  # noqa: PLW1509 - no threads here
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stderr.close()


def alive(pid):
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def until():
    return standins.wait_until


@pytest.fixture
def is_alive():
    return alive

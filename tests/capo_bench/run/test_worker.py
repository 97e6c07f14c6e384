import json
import os
import signal
import socket
import subprocess
import sys
from multiprocessing import Pipe
from pathlib import Path

import pytest
from standins import make_plan

from capo_bench.run import wire
from capo_bench.run.worker import redirect_output, summarize_error

ROOT = str(Path(__file__).parents[3])


def test_the_summary_of_an_error_is_one_line_without_secrets(monkeypatch):
    monkeypatch.setenv("HUB_TOKEN", "hf_123456789")
    assert summarize_error(ValueError("bad hf_123456789\nmore")) == "ValueError: bad ***HUB_TOKEN***"
    assert summarize_error(KeyError()) == "KeyError"
    assert len(summarize_error(ValueError("x" * 1000))) == 300


def test_numbers_of_any_library_travel_as_numbers_and_other_things_are_refused():
    import numpy as np

    ours, theirs = Pipe()
    wire.send(ours, {"outcome": np.float32(0.5), "tokens": np.int64(7)})
    assert wire.receive(theirs) == {"outcome": 0.5, "tokens": 7}
    with pytest.raises(TypeError):
        wire.send(ours, {"outcome": object()})
    ours.close()
    theirs.close()


def test_a_trial_survives_the_way_to_a_worker():
    (trial,) = make_plan(["ok"], cold=("ok",)).trials
    assert type(trial).from_json(json.loads(json.dumps(trial.as_json()))) == trial


def test_output_of_any_kind_goes_to_the_log_and_comes_back_after(tmp_path, capfd):
    with redirect_output(tmp_path / "new" / "log"):
        os.write(1, b"descriptor\n")
        os.write(2, b"errors\n")
    os.write(1, b"after\n")
    assert (tmp_path / "new" / "log").read_text() == "descriptor\nerrors\n"
    assert capfd.readouterr().out == "after\n"


def test_a_worker_whose_runner_is_gone_before_it_is_ready_ends():
    ours, theirs = socket.socketpair()
    watched, lifeline = os.pipe()
    os.close(lifeline)
    passed = (theirs.fileno(), watched)
    command = [sys.executable, "-m", "capo_bench.run.worker", *map(str, passed)]
    with ours, theirs:
        run = subprocess.run(
            command, env=os.environ | {"PYTHONPATH": ROOT}, pass_fds=passed, process_group=0, check=False
        )
    os.close(watched)
    assert run.returncode == -signal.SIGKILL


def test_a_worker_starts_without_the_heavy_packages():
    code = "import sys, capo_bench.run.worker; print({'torch', 'mlflow', 'pydantic', 'rich'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"

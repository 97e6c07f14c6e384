"""A trial as a worker runs it, which writes down what it found in the worker and what it leaves there."""

from __future__ import annotations

import os
import sys
from typing import Any

from capo_bench.run import stages
from capo_bench.store.home import write_json

LEFT = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
"""What TRL leaves in the environment of a process in which an engine sampled."""


def run_trial(trial: Any, home: Any, *how: Any) -> bool:
    """Run a trial."""
    environment = dict(os.environ)
    done = stages.run_trial(trial, home, *how)
    libraries = sorted({"trl", "transformers", "accelerate", "peft"} & sys.modules.keys())
    found = {"worker": os.getpid(), "environment": environment, "libraries": libraries}
    write_json(home.path / "watched" / f"{trial.id}.json", found)
    os.environ.update(LEFT)
    return done

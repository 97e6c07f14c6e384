"""A trial that saves as training does, and a program.

``python -m raystandins HOME ARTIFACTS VARIANT… `` runs one seed of each variant through Ray; ARTIFACTS is a URL, or
``-`` for none.
"""

import sys
import time
from pathlib import Path

import standins
from rich.console import Console

from capo_bench.run.runner import RunOptions
from capo_bench.run.session import run_study
from capo_bench.store.home import Home, read_json, write_json


def run_saving(trial, home, emit, stop, attempt):
    """Two seconds of steps, saved every tenth."""
    folder = home.trial(trial.id)
    mark = folder.checkpoints / "resume.json"
    emit({"kind": "stage", "stage": "train"})
    step, total = 0, 0
    if mark.exists():
        step = read_json(mark)["step"]
        total = read_json(folder.checkpoints / f"checkpoint-{step}" / "state.json")
    while step < standins.STEPS:
        time.sleep(0.05)
        step, total = step + 1, total + step * (trial.seed + 1)
        emit({"kind": "step", "step": step, "of": standins.STEPS, "metrics": {"outcome": 0.25}})
        if step % 10 == 0 or stop():
            write_json(folder.checkpoints / f"checkpoint-{step}" / "state.json", total)
            write_json(mark, {"checkpoint": f"checkpoint-{step}", "step": step})
        if stop():
            return False
    standins.finish(trial, home, accuracy=total / 10_000)
    return True


def descendants(pid):
    """Processes that `pid` started, and those that they started."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1]) if entry.name.isdigit() else 0
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == pid:
            found += [int(entry.name), *descendants(int(entry.name))]
    return found


def main():
    home, *variants = sys.argv[1:]
    options = RunOptions(workers=2, track=False, task=standins.TASK, prepare=standins.PREPARE, executor="ray")
    result = run_study(standins.make_plan(variants), Home(Path(home)), options, Console(stderr=True))
    sys.exit(result.exit_code)


if __name__ == "__main__":
    main()

"""Two workers against one on two cores: trials of the voting study that train and are measured, start-up included.

    python -m benchmarks.workers

The cold start is made beforehand and counted for neither. Each pass has a results folder of its own; passes alternate.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TARGET = 1.2
PASSES = 2
STUDY = ["run", "voting", "--only", "exact", "--only", "grpo_rule", "--set", "train.steps=12", "--no-tracking"]


def run(home: Path, *more: str) -> float:
    """Run the trials in a folder; return the seconds that the command took."""
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "capo_bench", *STUDY, "--home", str(home), *more], check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - began


def main() -> None:
    taken: dict[int, list[float]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as place:
        first = Path(place) / "first"
        run(first, "--only", "seed=0", "--set", "train.steps=1")
        for number in range(PASSES):
            for workers in (1, 2) if number % 2 == 0 else (2, 1):
                home = Path(place) / f"{number}-{workers}"
                shutil.copytree(first / "stages" / "cold_start", home / "stages" / "cold_start")
                taken[workers].append(run(home, "--workers", str(workers)))
                shutil.rmtree(home)
    alone, two = (statistics.median(taken[workers]) for workers in (1, 2))
    print(f"6 trials of 12 steps: one worker {alone:.1f} s, two workers {two:.1f} s (medians of {PASSES})")
    print(f"ratio {alone / two:.2f}, target at least {TARGET}")


if __name__ == "__main__":
    main()

"""Times the expansion of a study of 10,000 trials: 4 × 5 × 5 variants × 100 seeds, from text to ids.

Run with ``python benchmarks/plan.py``. The target is two seconds, the first reading of the sources included.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from time import perf_counter

from capo_bench.study.load import load_plan

TARGET = 2.0

STUDY = f"""\
name: large
question: How long does a plan take?
baseline: vote=union,critiques=2,w_process=0.5
base: {{critic: {{name: noisy}}}}
matrix:
  credit.vote: [intersection, majority, union, average]
  credit.critiques: [2, 4, 6, 8, 10]
  credit.w_process: [0.5, 1.0, 1.5, 2.0, 2.5]
seeds: {list(range(100))}
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.yaml"
        path.write_text(STUDY, encoding="utf-8")
        for name in ("first", "again"):
            began = perf_counter()
            trials = len(load_plan(path).trials)
            seconds = perf_counter() - began
            print(f"{name}: {trials} trials in {seconds:.2f} s, {seconds / TARGET:.2f} of the target of {TARGET} s")


if __name__ == "__main__":
    main()

"""Times ``capo-bench --help`` in fresh processes, compared with a Python that does nothing.

Run with ``python benchmarks/cli_help.py``. The target is 0.3 seconds.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from time import perf_counter

TARGET, TIMES = 0.3, 15


def seconds(*args: str) -> float:
    began = perf_counter()
    subprocess.run([sys.executable, *args], check=True, stdout=subprocess.DEVNULL)
    return perf_counter() - began


def main() -> None:
    bare = statistics.median(seconds("-c", "pass") for _ in range(TIMES))
    taken = statistics.median(seconds("-m", "capo_bench", "--help") for _ in range(TIMES))
    print(
        f"--help: {taken:.3f} s, median of {TIMES}; {taken / TARGET:.2f} of the target of {TARGET} s; "
        f"{taken / bare:.1f} times a Python that does nothing ({bare:.3f} s)"
    )


if __name__ == "__main__":
    main()

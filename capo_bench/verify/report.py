"""Build the report again from derived numbers, and compare it with the existing one."""

from __future__ import annotations

from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capo_bench.analysis.digest import hash_code
from capo_bench.pages.report import build_report, write_report
from capo_bench.store.home import Home
from capo_bench.store.walk import ABSENT
from capo_bench.verify.checks import Check
from evals.checksums import list_files_below

if TYPE_CHECKING:
    from capo_bench.study.plan import Plan

_VIEW = "rollouts.html"


def check_report(check: Check, plan: Plan, again: Home, recorded: Path, origin: dict[str, Any] | None) -> None:
    """Build the report again from derived numbers, and compare its files: texts line by line, others as a whole.

    `origin` describes the capo-bench that wrote the recorded report; None: this one did.

    Raises:
        NothingToReportError: No trial has finished.
        DamagedFileError: A file of a trial cannot be read.
    """
    folder = again.study(plan.study).profile(plan.profile).report
    write_report(build_report(plan, again), folder)
    same = origin is None or origin.get("code") == hash_code()
    names = {file.relative_to(each).as_posix() for each in (recorded, folder) for file in list_files_below(each)}
    for name in sorted(names):
        with check.reading(f"report/{name}"):
            if name == _VIEW:
                check.leave("the page of `capo-bench view`, which that command writes again")
            elif same:
                _compare(check, _read(recorded / name), _read(folder / name), f"report/{name}")
            else:
                check.leave("files of a report that other code wrote; `capo-bench report` writes it again")


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else ABSENT.encode()


def _compare(check: Check, recorded: bytes, derived: bytes, where: str) -> None:
    try:
        texts = recorded.decode(), derived.decode()
    except UnicodeDecodeError:
        check.equal(where, "as it is", "as it is" if recorded == derived else "another file")
        return
    for number, pair in enumerate(zip_longest(*(text.split("\n") for text in texts), fillvalue=ABSENT), 1):
        check.equal(f"{where}:{number}", *(pair if pair[0] == pair[1] else _cut(*pair)))


def _cut(recorded: str, derived: str) -> tuple[str, str]:
    """Shorten two lines to the place where they differ, with some text before it."""
    pairs = enumerate(zip(recorded, derived, strict=False))
    place = next((place for place, (left, right) in pairs if left != right), min(len(recorded), len(derived)))
    start = max(place - 40, 0)
    dots = "…" * (start > 0)
    return dots + recorded[start : place + 60], dots + derived[start : place + 60]

"""The same problem answered before and after training, from the evaluations of the start and of the trained policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from capo_bench.home import TrialFolder
from capo_bench.report.collect import Record, read_records
from capo_bench.report.examples import Step, prompts_of, steps_of
from capo_bench.view.text import clipped

LONGEST_PROMPT = 1500


@dataclass(frozen=True)
class Side:
    """One of the two answers: what the verifier said of it, and its steps as the exact checker marks them."""

    status: str
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Pair:
    """A problem answered twice.

    Attributes:
        title: What changed.
        count: Of how many problems that is so.
        of: Of how many in all.
        problem: The problem's id.
        prompt: The problem; empty where its benchmark's data is not on this machine.
        before: The start's first answer.
        after: The trained policy's first answer.
    """

    title: str
    count: int
    of: int
    problem: str
    prompt: str
    before: Side
    after: Side


Both = tuple[Record, Record]


def _went(before: bool, after: bool) -> Callable[[Both], bool]:
    return lambda both: both[0].get("correct") is before and both[1].get("correct") is after


def _mended(both: Both) -> bool:
    return _went(True, True)(both) and bool(both[0].get("wrong_steps")) and both[1].get("wrong_steps") == []


CHANGES = (
    ("Wrong before, right after", _went(False, True)),
    ("Right by a wrong step before, without one after", _mended),
    ("Right before, wrong after", _went(True, False)),
)


def pairs(before: TrialFolder, after: TrialFolder, task: str, segmenter: str) -> list[Pair]:
    """Return the first problem of each kind of change; a kind without a problem is left out.

    Args:
        before: The start's trial.
        after: The trained policy's.
        task: The evaluation task whose samples are compared.
        segmenter: How completions are cut into steps.

    Raises:
        DamagedFileError: Samples cannot be read.
    """
    old, new = _first_samples(before, task), _first_samples(after, task)
    shared = {problem: (old[problem], new[problem]) for problem in old if problem in new}
    prompts = prompts_of(after.evaluation / task)
    found = []
    for title, holds in CHANGES:
        hits = [problem for problem, both in shared.items() if holds(both)]
        if hits:
            sides = [Side(clipped(str(one.get("status", "")), 100), _shown(one, segmenter)) for one in shared[hits[0]]]
            prompt = clipped(prompts.get(hits[0], ""), LONGEST_PROMPT)
            found.append(Pair(title, len(hits), len(shared), hits[0], prompt, sides[0], sides[1]))
    return found


def _shown(record: Record, segmenter: str) -> tuple[Step, ...]:
    return tuple(Step(step.number, clipped(step.text, 4000), step.mark) for step in steps_of(record, segmenter))


def _first_samples(folder: TrialFolder, task: str) -> Mapping[str, Record]:
    path = folder.samples(task)
    found: dict[str, Record] = {}
    for record in read_records(path) if path.exists() else ():
        found.setdefault(str(record["problem"]), record)
    return found

"""A few rollouts to look at: for each variant a sound one and a flawed one, with the wrong steps marked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from capo_bench.report.collect import Record, Results, Run, read_record
from capo_bench.report.digest import digested
from capo_bench.report.measures import task_of
from capo_bench.report.scores import Pick
from evals.harness.folder import TASK, read_task
from evals.harness.identity import EvaluationError
from trainers.credit.segment import SEGMENTERS, step_texts

Mark = Literal["right", "wrong", "follows", "unmarked"]
Kind = Literal["sound", "flawed", "unchecked"]

LONGEST = 4000
"""Characters of a completion that are shown."""


@dataclass(frozen=True)
class Step:
    """One step of a rollout: its number from 1, its text, and what the exact checker said of it."""

    number: int
    text: str
    mark: Mark


@dataclass(frozen=True)
class Example:
    """One rollout of an evaluation.

    Attributes:
        variant: Who wrote it.
        seed: Seed of its trial.
        kind: "sound" (right answer, no wrong step), "flawed", or "unchecked" (right answer, nobody checked the steps).
        problem: The problem's id.
        prompt: The problem; empty where its benchmark's data is not on this machine.
        status: What the verifier said of the answer.
        steps: Its steps; one unmarked step where there are no marks or they don't fit the text.
    """

    variant: str
    seed: int
    kind: Kind
    problem: str
    prompt: str
    status: str
    steps: tuple[Step, ...]


def examples(results: Results, digest: Path | None = None) -> list[Example]:
    """Pick the first sound and the first flawed rollout of each variant, on the primary metric's task.

    A flawed one with a right answer is taken first: it is what an outcome reward cannot see.

    Args:
        results: The study's results.
        digest: Where they are kept, so that they are read again only where their files changed.
    """
    task = task_of(results.primary)
    picked: list[tuple[Run, Pick, int]] = []
    for runs in results.runs.values():
        flawed = _first(runs, task, "lucky") or _first(runs, task, "flawed")
        picked += [pick for pick in (_first(runs, task, "right"), flawed) if pick]
    files = [file for run, _, _ in picked for file in (run.folder.samples(task), run.folder.evaluation / task / TASK)]
    who = [[run.trial.id, run.trial.variant, run.trial.seed, kind, place] for run, kind, place in picked]
    found = digested(digest, files, lambda: [asdict(_example(*pick, task)) for pick in picked], who)
    return [Example(**{**one, "steps": tuple(Step(**step) for step in one["steps"])}) for one in found]


def steps_of(record: Record, segmenter: str) -> tuple[Step, ...]:
    """Cut a completion into its marked steps."""
    text = str(record["completion"])
    shown = text if len(text) <= LONGEST else f"{text[:LONGEST]} … ({len(text) - LONGEST} more characters)"
    texts = step_texts(text, SEGMENTERS.get(segmenter)(text))
    if len(texts) != record.get("steps") or shown != text or not _checked(record):
        return (Step(1, shown, "unmarked"),)
    wrong, follow = _wrong(record), set(record.get("follow_steps") or ())
    marks: list[Mark] = ["wrong" if i in wrong else "follows" if i in follow else "right" for i in range(len(texts))]
    return tuple(Step(i + 1, text, mark) for i, (text, mark) in enumerate(zip(texts, marks, strict=True)))


def _first(runs: Mapping[int, Run], task: str, kind: Pick) -> tuple[Run, Pick, int] | None:
    """Return the first sample of a kind: whose it is, and its place in the file."""
    for run in runs.values():
        if (place := run.shown.get(task, {}).get(kind)) is not None:
            return run, kind, place
    return None


def _checked(record: Record) -> bool:
    return record.get("wrong_steps") is not None


def _wrong(record: Record) -> set[int]:
    return set(record.get("wrong_steps") or ())


def _example(run: Run, pick: Pick, place: int, task: str) -> Example:
    record = read_record(run.folder.samples(task), place)
    return Example(
        variant=run.trial.variant,
        seed=run.trial.seed,
        kind="flawed" if pick != "right" else "sound" if _checked(record) else "unchecked",
        problem=str(record["problem"]),
        prompt=prompts_of(run.folder.evaluation / task).get(str(record["problem"]), "").strip(),
        status=str(record.get("status", "")),
        steps=steps_of(record, run.trial.config.evaluation.segmenter),
    )


def prompts_of(folder: Path) -> dict[str, str]:
    """Return problem id to prompt of an evaluated task; nothing where the problems are not on this machine."""
    try:
        return {one.problem.id: one.problem.prompt for one in read_task(folder).asked}
    except EvaluationError:  # a report is also made of samples alone
        return {}

"""Run the first stage: request completions from a model, write them, and resume after any interruption."""

from __future__ import annotations

import asyncio
import fcntl
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

from evals.checksums import SUMS, seal
from evals.clock import process_seconds
from evals.harness.folder import (
    GENERATIONS,
    RESULT,
    TASK,
    TIMING,
    Asked,
    Generation,
    Key,
    Ranking,
    TaskRecord,
    drop_torn_line,
    format_json,
    keep_latest,
    make_key,
    note_seconds,
    read_task,
    read_whole_batches,
    write_task,
)
from evals.harness.identity import EvaluationError, Identity, find_differences, list_completions, read_identity
from evals.harness.progress import Progress, Tell, ignore
from evals.harness.tasks import EvalTask
from evals.metrics import Decoding
from evals.models.base import Completion, Likelihood, Model

MOST_FAILED = 0.1
_ENOUGH = 20  # the share of failures is checked from this many completions on

_Which = tuple[Decoding, int]  # decoding, number of the sample
_Work = tuple[_Which, Asked]
_Answer = tuple[Completion, Ranking | None]


@dataclass(frozen=True)
class Asker:
    """A model, the seed of its sampling, and the event loop of its connections."""

    model: Model
    seed: int
    runner: asyncio.Runner


@dataclass(frozen=True)
class _Unit:
    """Some completions of one problem, with the same decoding and successive numbers."""

    asked: Asked
    decoding: Decoding
    numbers: range

    def works(self) -> list[_Work]:
        return [((self.decoding, number), self.asked) for number in self.numbers]


def generate(  # noqa: PLR0913 - tasks, model, folder, limits and callbacks
    task: EvalTask,
    asker: Asker,
    folder: Path,
    *,
    most_failed: float = MOST_FAILED,
    tell: Tell = ignore,
    stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Generate every completion of a task that its folder lacks, then retry the failed ones.

    A completion depends on the seed, its prompt and its number, not on its batch. Therefore a resumed evaluation writes
    the same completions as an uninterrupted one, if the hardware computes the same in any batch.

    Args:
        task: The task.
        asker: The model and its settings.
        folder: The task's folder; it is created if it is missing.
        most_failed: Largest share of this run's completions that may fail.
        tell: Called after every batch.
        stop: Called before every batch.

    Returns:
        Whether all completions were requested; False if `stop` returned True before.

    Raises:
        EvaluationError: The folder belongs to another evaluation or is in use, or too many completions failed.
        ModelError: The model does not support what the task needs.
    """
    with _open(folder) as file:
        record = _read_record(folder, task, asker.model, read_identity(task, asker.model, asker.seed))
        there, good = read_whole_batches(folder / GENERATIONS)
        file.truncate(good)
        drop_torn_line(folder / TIMING)
        held = keep_latest(there)
        each = list_completions(record.identity)
        batches = _make_batches(record.asked, each, held, asker.model.batch)
        if batches:
            (folder / RESULT).unlink(missing_ok=True)  # an existing result has fewer completions
            (folder / SUMS).unlink(missing_ok=True)
        progress = Progress("generate", task.name, len(held), len(record.asked) * len(each))
        started = time.perf_counter()
        for number, batch in enumerate(batches, there[-1]["batch"] + 1 if there else 0):
            if stop():
                return False
            began, worked = time.perf_counter(), process_seconds()
            lines = _make_lines(batch, _ask(asker, task, batch), number)
            _append(file, lines)
            now = time.perf_counter()
            note_seconds(folder, number, now - began, process_seconds() - worked)
            progress = _advance(progress, lines, held, now - started)
            tell(progress)
            if progress.failed > most_failed * max(progress.asked, _ENOUGH):
                raise EvaluationError(_describe_failures(folder, progress, lines))
    if progress.asked and progress.failed == progress.asked:
        raise EvaluationError(_describe_failures(folder, progress, lines))
    if batches:
        seal(folder, (TASK, GENERATIONS, TIMING))
    return True


def _read_record(folder: Path, task: EvalTask, model: Model, identity: Identity) -> TaskRecord:
    """Read the folder's record of the request, or write it.

    Prompts are rendered only once: a template that contains the date must not change a resumed evaluation.
    """
    if (folder / TASK).exists():
        record = read_task(folder)
        if parts := find_differences(record.identity, identity):
            shown = "\n".join(f"  {part}" for part in parts)
            raise EvaluationError(
                f"{folder} holds another evaluation; these settings differ there and here:\n{shown}\n"
                "use its settings, or choose another folder"
            )
        return record
    if (folder / GENERATIONS).stat().st_size:
        raise EvaluationError(f"{folder} holds completions, but no {TASK} that describes them; choose another folder")
    record = TaskRecord(identity, task.source, task.checker, time.time(), _render(task, model))
    write_task(folder, record)
    return record


def _render(task: EvalTask, model: Model) -> tuple[Asked, ...]:
    if task.output == "choose":
        pairs = zip(task.problems, task.queries, strict=True)
        return tuple(Asked(problem, context, options) for problem, (context, options) in pairs)
    return tuple(Asked(problem, model.prompt(problem.prompt)) for problem in task.problems)


def _make_batches(
    asked: Sequence[Asked],
    each: Sequence[_Which],
    held: Mapping[Key, Generation],
    size: int,
) -> list[list[_Unit]]:
    """Split the missing completions, then the failed ones, into batches of about `size`.

    Greedy completions come first, and the longest prompts. Prompts of similar length need little padding, and too
    little memory fails at once. All completions of a problem are requested together, so that its prompt is processed
    once.
    """
    missing, failed = [], []
    for question in sorted(asked, key=lambda question: -len(question.prompt)):
        lines = {which: held.get((question.problem.id, *which)) for which in each}
        missing += _make_units(question, [which for which, line in lines.items() if line is None], size)
        again = [which for which, line in lines.items() if line and line["failure"] is not None]
        failed += _make_units(question, again, size)
    batches: list[list[_Unit]] = []
    for units in (missing, failed):
        units.sort(key=lambda unit: (unit.decoding != "greedy", -len(unit.numbers), unit.numbers.start))
        for (_, numbers), alike in groupby(units, key=lambda unit: (unit.decoding, unit.numbers)):
            batches += _chunk(list(alike), max(size // len(numbers), 1))
    return batches


def _make_units(asked: Asked, wanted: Sequence[_Which], size: int) -> list[_Unit]:
    """Return a problem's missing completions as runs of successive numbers, none longer than `size`."""
    units: list[_Unit] = []
    for decoding, number in wanted:
        last = units[-1] if units else None
        if last and last.decoding == decoding and last.numbers.stop == number and len(last.numbers) < size:
            units[-1] = replace(last, numbers=range(last.numbers.start, number + 1))
        else:
            units.append(_Unit(asked, decoding, range(number, number + 1)))
    return units


def _chunk(units: Sequence[_Unit], size: int) -> list[list[_Unit]]:
    return [list(units[first : first + size]) for first in range(0, len(units), size)]


def _ask(asker: Asker, task: EvalTask, batch: Sequence[_Unit]) -> list[_Answer]:
    """Return the answers of a batch, unit by unit."""
    if task.output == "choose":
        pairs = [(unit.asked.prompt, option) for unit in batch for option in unit.asked.options]
        scored = iter(asker.model.score(pairs))
        return [_make_choice([next(scored) for _ in unit.asked.options]) for unit in batch]
    numbers, prompts = batch[0].numbers, [unit.asked.prompt for unit in batch]
    sampling = task.sampling if batch[0].decoding == "sampled" else task.sampling.greedily()
    rows = asker.runner.run(asker.model.complete(prompts, len(numbers), sampling, seed=asker.seed, first=numbers.start))
    return [(completion, None) for row in rows for completion in row]


def _make_lines(batch: Sequence[_Unit], answers: Sequence[_Answer], number: int) -> list[Generation]:
    work = [piece for unit in batch for piece in unit.works()]
    return [
        _make_generation(asked.problem.id, which, answer, number, len(work))
        for (which, asked), answer in zip(work, answers, strict=True)
    ]


def _make_choice(options: Sequence[Likelihood]) -> _Answer:
    logprobs = [option.logprob for option in options]
    failure = "a log-probability is not a number" if any(map(math.isnan, logprobs)) else None
    # JSON has neither infinity nor NaN.
    finite = [value if math.isfinite(value) else None for value in logprobs]
    completion = Completion(failure, "error") if failure else Completion("")
    return completion, Ranking(logprobs=finite, greedy=[option.greedy for option in options])


def _make_generation(problem: str, which: _Which, answer: _Answer, batch: int, size: int) -> Generation:
    (decoding, sample), (completion, ranking) = which, answer
    line: Generation = {
        "problem": problem,
        "decoding": decoding,
        "sample": sample,
        "completion": "" if completion.failed else completion.text,
        "tokens": 0 if completion.failed else completion.usage.output_tokens,
        "truncated": completion.end == "length",
        "failure": completion.text if completion.failed else None,
        "batch": batch,
        "batch_size": size,
    }
    if ranking is not None:
        line["ranking"] = ranking
    return line


@contextmanager
def _open(folder: Path) -> Iterator[BinaryIO]:
    """Open the completions for appending, for one process at a time; a crash releases the lock."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / GENERATIONS).open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EvaluationError(
                f"{folder} is being written by another process; wait for it, or choose another folder"
            ) from None
        yield file


def _append(file: BinaryIO, lines: Sequence[Generation]) -> None:
    file.write("".join(map(format_json, lines)).encode("ascii"))
    file.flush()
    os.fsync(file.fileno())


def _advance(
    progress: Progress, lines: Sequence[Generation], had: Mapping[Key, Generation], seconds: float
) -> Progress:
    return replace(
        progress,
        done=progress.done + sum(make_key(line) not in had for line in lines),
        asked=progress.asked + len(lines),
        failed=progress.failed + sum(line["failure"] is not None for line in lines),
        tokens=progress.tokens + sum(line["tokens"] for line in lines),
        seconds=seconds,
    )


def _describe_failures(folder: Path, progress: Progress, lines: Sequence[Generation]) -> str:
    reason = next(line["failure"] for line in reversed(lines) if line["failure"] is not None)
    return (
        f"{folder}: {progress.failed} of the {progress.asked} completions of this run failed, the last because: "
        f"{reason}; correct that and run it again: finished completions are kept, failed ones are retried"
    )

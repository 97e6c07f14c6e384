"""The first stage: ask a model, write what it says, go on after whatever ended the run before."""

from __future__ import annotations

import fcntl
import hashlib
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from evals.harness.base import Backend, Completion, Likelihood, Sampling
from evals.harness.folder import (
    GENERATIONS,
    RESULT,
    TASK,
    TIMING,
    Asked,
    Generation,
    Ranking,
    TaskRecord,
    drop_torn_line,
    json_line,
    latest,
    note_seconds,
    read_task,
    whole_batches,
    write_task,
)
from evals.harness.identity import EvaluationError, Identity, differences, identity_of
from evals.harness.progress import Progress, Tell, silent
from evals.harness.tasks import EvalTask

MOST_FAILED = 0.1
_ENOUGH = 20  # completions before the share that failed says something

_Work = tuple[int, Asked]  # number of the sample, problem
_Answer = tuple[Completion, Ranking | None]


def generate(  # noqa: PLR0913 - what to ask, of whom, where to, how, and who is told
    task: EvalTask,
    backend: Backend,
    folder: Path,
    *,
    seed: int,
    retry_failed: bool = True,
    most_failed: float = MOST_FAILED,
    tell: Tell = silent,
    stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Ask a model for every completion of a task that its folder does not hold yet.

    The seed of a batch follows from `seed`, the task and the number of the batch alone, so an evaluation that was
    killed and goes on writes what it would have written, where the backend is deterministic.

    Args:
        task: What is asked.
        backend: Who is asked.
        folder: The task's own folder, made if it is not there.
        seed: Decides the draws.
        retry_failed: Ask again, after everything else, for completions that failed in an earlier run.
        most_failed: Share of this run's completions that may fail.
        tell: Called after every batch.
        stop: Asked before every batch.

    Returns:
        Whether everything was asked; False if `stop` said so first.

    Raises:
        EvaluationError: The folder holds another evaluation or is in use, or too many completions failed.
        BackendError: The model cannot do what the task asks.
    """
    k, sampling = 1 if task.output == "choose" else task.samples, task.sampling
    with _opened(folder) as file:
        asked = _record(folder, task, backend, identity_of(task, backend, sampling, k, seed)).asked
        there, good = whole_batches(folder / GENERATIONS)
        file.truncate(good)
        drop_torn_line(folder / TIMING)
        known = latest(there)
        batches = _batches(order(asked, k), known, backend.batch_size, retry_failed)
        if batches:
            (folder / RESULT).unlink(missing_ok=True)  # it would be the result of fewer completions
        told = Progress("generate", task.name, len(known), len(asked) * k)
        started = time.perf_counter()
        for number, batch in enumerate(batches, there[-1]["batch"] + 1 if there else 0):
            if stop():
                return False
            began = time.perf_counter()
            answers = _ask(backend, task.output, batch, sampling, batch_seed(seed, task.name, number))
            lines = _lines(batch, answers, number)
            _append(file, lines)
            now = time.perf_counter()
            note_seconds(folder, number, now - began)
            told = _further(told, lines, known, now - started)
            tell(told)
            if told.failed > most_failed * max(told.asked, _ENOUGH):
                raise EvaluationError(_failures(folder, told, lines))
    if told.asked and told.failed == told.asked:
        raise EvaluationError(_failures(folder, told, lines))
    return True


def order(asked: Sequence[Asked], samples: int) -> list[_Work]:
    """Return (sample, problem) in the order of work: sample by sample, the longest prompts first.

    Prompts of like lengths pad each other little, and memory that does not suffice shows at once.
    """
    longest_first = sorted(asked, key=lambda one: -len(one.prompt))
    return [(sample, one) for sample in range(samples) for one in longest_first]


def batch_seed(seed: int, task: str, batch: int) -> int:
    """Return the seed of a batch, below 2**32."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{task}/{batch}".encode()).digest()[:4], "big")


def _record(folder: Path, task: EvalTask, backend: Backend, identity: Identity) -> TaskRecord:
    """Return what the folder says was asked, or write it there.

    Prompts are rendered once: a template that tells the date must not change an evaluation that goes on.
    """
    if (folder / TASK).exists():
        record = read_task(folder)
        if found := differences(record.identity, identity):
            told = "\n".join(f"  {one}" for one in found)
            raise EvaluationError(
                f"{folder} holds another evaluation; of there and here, these differ:\n{told}\n"
                "ask for the same again, or choose another folder"
            )
        return record
    if (folder / GENERATIONS).stat().st_size:
        raise EvaluationError(f"{folder} holds completions and no {TASK} that says of what; choose another folder")
    record = TaskRecord(identity, task.source, task.checker, time.time(), _asked(task, backend))
    write_task(folder, record)
    return record


def _asked(task: EvalTask, backend: Backend) -> tuple[Asked, ...]:
    if task.output == "choose":
        pairs = zip(task.problems, task.queries, strict=True)
        return tuple(Asked(problem, context, options) for problem, (context, options) in pairs)
    return tuple(Asked(problem, backend.prompt(problem.prompt)) for problem in task.problems)


def _batches(
    work: Sequence[_Work], known: Mapping[tuple[str, int], Generation], size: int, retry_failed: bool
) -> list[Sequence[_Work]]:
    """Cut what is missing into batches, then what failed: the first are the batches of a run that nothing ended."""
    missing, failed = [], []
    for sample, one in work:
        line = known.get((one.problem.id, sample))
        if line is None:
            missing.append((sample, one))
        elif retry_failed and line["failure"] is not None:
            failed.append((sample, one))
    return [part[first : first + size] for part in (missing, failed) for first in range(0, len(part), size)]


def _ask(backend: Backend, output: str, batch: Sequence[_Work], sampling: Sampling, seed: int) -> list[_Answer]:
    if output == "choose":
        pairs = [(one.prompt, option) for _, one in batch for option in one.options]
        found = iter(backend.likelihoods(pairs))
        return [_choice([next(found) for _ in one.options]) for _, one in batch]
    completions = backend.generate([one.prompt for _, one in batch], sampling, seed)
    return [(completion, None) for completion in completions]


def _lines(batch: Sequence[_Work], answers: Sequence[_Answer], number: int) -> list[Generation]:
    return [
        _generation(one.problem.id, sample, answer, number, len(batch))
        for (sample, one), answer in zip(batch, answers, strict=True)
    ]


def _choice(likelihoods: Sequence[Likelihood]) -> _Answer:
    logprobs = [one.logprob for one in likelihoods]
    failure = "a log-probability is not a number" if any(map(math.isnan, logprobs)) else None
    # JSON has neither infinity nor NaN.
    known = [value if math.isfinite(value) else None for value in logprobs]
    return Completion("", 0, False, failure), Ranking(logprobs=known, greedy=[one.greedy for one in likelihoods])


def _generation(problem: str, sample: int, answer: _Answer, batch: int, size: int) -> Generation:
    completion, ranking = answer
    line: Generation = {
        "problem": problem,
        "sample": sample,
        "completion": completion.text,
        "tokens": completion.tokens,
        "truncated": completion.truncated,
        "failure": completion.failure,
        "batch": batch,
        "batch_size": size,
    }
    if ranking is not None:
        line["ranking"] = ranking
    return line


@contextmanager
def _opened(folder: Path) -> Iterator[BinaryIO]:
    """Open the completions for appending, for one process at a time; a crash releases them."""
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
    file.write("".join(map(json_line, lines)).encode("ascii"))
    file.flush()
    os.fsync(file.fileno())


def _further(
    told: Progress, lines: Sequence[Generation], known: Mapping[tuple[str, int], Generation], seconds: float
) -> Progress:
    return replace(
        told,
        done=told.done + sum((line["problem"], line["sample"]) not in known for line in lines),
        asked=told.asked + len(lines),
        failed=told.failed + sum(line["failure"] is not None for line in lines),
        tokens=told.tokens + sum(line["tokens"] for line in lines),
        seconds=seconds,
    )


def _failures(folder: Path, told: Progress, lines: Sequence[Generation]) -> str:
    reason = next(line["failure"] for line in reversed(lines) if line["failure"] is not None)
    return (
        f"{folder}: {told.failed} of the {told.asked} completions of this run failed, the last because: {reason}; "
        "see to that and run it again: what is there is kept, what failed is asked again"
    )

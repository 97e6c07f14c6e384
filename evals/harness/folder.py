"""The folder of one evaluated task: plain files, each either whole or with a known good beginning.

``task.json``
    What was asked, written first: the identity of the completions, and every problem as the model reads it.
``generations.jsonl``
    One completion a line, appended batch by batch. A kill can tear the last batch only; it is dropped and asked again.
``timing.jsonl``
    Seconds of each batch. They stand apart, so that the completions of two runs can be compared byte by byte.
``samples.jsonl``
    The completions with their verdicts; written again by every scoring.
``result.json``
    The metrics; written last.

Text of a model may hold anything, lone surrogates and line separators of Unicode included: JSON is written in ASCII
and lines end at a line feed only.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from evals.benchmarks import Problem
from evals.checksums import check_file, unlist
from evals.files import write_atomic
from evals.harness.identity import EvaluationError, Identity
from evals.metrics import Decoding, Sample
from evals.verify.forms import Form

TASK, GENERATIONS, TIMING = "task.json", "generations.jsonl", "timing.jsonl"
SAMPLES, RESULT = "samples.jsonl", "result.json"


class Ranking(TypedDict):
    """What a model says of the options of a problem, in order.

    `logprobs` are null for an option that it holds impossible; `greedy` tells whether an option is the likeliest
    continuation, token by token.
    """

    logprobs: list[float | None]
    greedy: list[bool]


class Generation(TypedDict):
    """One line of ``generations.jsonl``.

    `problem` is an id, `sample` counts from 0 within those of it with the same `decoding`. `failure` says why there is
    no completion. `batch` counts from 0, `batch_size` is the number of its lines. With a `ranking` nothing was
    generated.
    """

    problem: str
    decoding: Decoding
    sample: int
    completion: str
    tokens: int
    truncated: bool
    failure: str | None
    batch: int
    batch_size: int
    ranking: NotRequired[Ranking]


_ALWAYS = Generation.__annotations__.keys() - {"ranking"}


@dataclass(frozen=True)
class Asked:
    """A problem as the model was asked.

    Attributes:
        problem: The problem.
        prompt: What the model read, in its template.
        options: Continuations whose likelihood was asked for.
    """

    problem: Problem
    prompt: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class TaskRecord:
    """What ``task.json`` holds.

    Attributes:
        identity: What decides the completions.
        source: Where the problems came from.
        checker: Benchmark that checks steps.
        started: When the evaluation was started first, in seconds since 1970.
        asked: The problems, in the order of the task.
    """

    identity: Identity
    source: str
    checker: str | None
    started: float
    asked: tuple[Asked, ...]


def write_task(folder: Path, record: TaskRecord) -> None:
    """Write ``task.json``."""
    write_atomic(folder / TASK, json.dumps(asdict(record), indent=1) + "\n")


def read_task(folder: Path) -> TaskRecord:
    """Read ``task.json``.

    Raises:
        EvaluationError: There is none, or it is not one.
    """
    path = folder / TASK
    try:
        check_file(path)
        value = json.loads(path.read_text(encoding="utf-8"))
        return TaskRecord(**{**value, "asked": tuple(_asked(one) for one in value["asked"])})
    except FileNotFoundError:
        raise EvaluationError(f"{folder} holds no evaluation ({TASK} is missing); evaluate a model first") from None
    except (ValueError, TypeError, KeyError) as error:
        raise EvaluationError(
            f"{path} is no record of an evaluation ({error}); delete {folder} and evaluate again"
        ) from error


def whole_batches(path: Path) -> tuple[list[Generation], int]:
    """Read the batches that were written whole, and the number of bytes that they take.

    Raises:
        EvaluationError: A line before the end is no completion; no kill leaves such a file.
    """
    whole: list[Generation] = []
    batch: list[Generation] = []
    size = good = 0
    for number, line in enumerate(_lines(path), 1):
        batch.append(_generation(line, f"{path}:{number}"))
        size += len(line)
        if len(batch) == batch[-1]["batch_size"]:
            whole += batch
            batch, good = [], size
    return whole, good


Key = tuple[str, Decoding, int]
"""Which completion: problem, decoding, number of the sample."""


def key_of(line: Generation) -> Key:
    """Return which completion a line is."""
    return line["problem"], line["decoding"], line["sample"]


def latest(generations: Iterable[Generation]) -> dict[Key, Generation]:
    """Return the last generation of each completion: one that failed may have been asked again."""
    return {key_of(line): line for line in generations}


def note_seconds(folder: Path, batch: int, seconds: float, cpu_seconds: float) -> None:
    """Append the seconds and the process seconds of a batch to ``timing.jsonl``."""
    line = {"batch": batch, "seconds": round(seconds, 6), "cpu_seconds": round(cpu_seconds, 6)}
    with (folder / TIMING).open("ab") as file:
        file.write(json_line(line).encode("ascii"))


def drop_torn_line(path: Path) -> None:
    """Cut a file of lines after its last line that ends."""
    if path.exists():
        data = path.read_bytes()
        os.truncate(path, data.rfind(b"\n") + 1)


def read_seconds(folder: Path) -> tuple[float, float]:
    """Return the seconds and process seconds of all batches together; without those of a batch that a kill tore."""
    lines = [json.loads(line) for line in _lines(folder / TIMING)]
    return math.fsum(line["seconds"] for line in lines), math.fsum(line["cpu_seconds"] for line in lines)


def write_samples(folder: Path, samples: Iterable[Sample]) -> None:
    """Write ``samples.jsonl``; their checksum is written with the result."""
    unlist(folder, (SAMPLES, RESULT))
    write_atomic(folder / SAMPLES, "".join(json_line(sample) for sample in samples))


def read_samples(folder: Path) -> list[Sample]:
    """Read ``samples.jsonl``; nothing if there is none.

    Raises:
        EvaluationError: It is not one.
    """
    path = folder / SAMPLES
    try:
        return [json.loads(line) for line in _lines(path)]
    except ValueError as error:
        raise EvaluationError(f"{path} holds a line that is no sample ({error}); score {folder} again") from error


def json_line(value: Any) -> str:
    """Return a value as a line of JSON in ASCII."""
    return json.dumps(value) + "\n"


def _lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file that end; nothing if there is no file."""
    if path.exists():
        check_file(path)
        with path.open("rb") as file:
            yield from (line for line in file if line.endswith(b"\n"))


def _generation(line: bytes, place: str) -> Generation:
    try:
        value = json.loads(line)
        missing = _ALWAYS - value.keys()
    except (ValueError, AttributeError):
        missing = set(_ALWAYS)
    if missing:
        raise EvaluationError(
            f"{place} is no completion ({', '.join(sorted(missing))} missing); delete the lines from there on and "
            "evaluate again: what stands before is kept"
        )
    return value  # type: ignore[no-any-return]


def _asked(value: dict[str, Any]) -> Asked:
    problem = value["problem"]
    form = Form(**{**problem["form"], "options": tuple(problem["form"]["options"])})
    return Asked(Problem(**{**problem, "form": form}), value["prompt"], tuple(value["options"]))

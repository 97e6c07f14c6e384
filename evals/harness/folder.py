"""Read and write the folder of one evaluated task. Each file is complete, or has a complete beginning.

``task.json``
    The request, written first: the identity of the completions, and every problem as the model reads it.
``generations.jsonl``
    One completion per line, appended batch by batch. A kill can only damage the last batch; it is dropped and retried.
``timing.jsonl``
    Seconds of each batch. They have their own file, so that the completions of two runs can be compared byte by byte.
``samples.jsonl``
    The completions with their verdicts; written again by every scoring.
``result.json``
    The metrics; written last.

A model's text can contain lone surrogates and Unicode line separators. Therefore JSON is written in ASCII, and only a
line feed ends a line.
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
    """A model's scores of the options of a problem, in order.

    `logprobs` are null for an option of probability 0; `greedy` is true if each token of the option is the most likely
    one.
    """

    logprobs: list[float | None]
    greedy: list[bool]


class Generation(TypedDict):
    """One line of ``generations.jsonl``.

    `problem` is an id; `sample` counts from 0 among the problem's completions of one `decoding`. `failure` is the
    reason why there is no completion. `batch` counts from 0, `batch_size` is the number of its lines. With a `ranking`,
    nothing was generated.
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
    """A problem, its prompt in the model's template, and the continuations that the model ranked by likelihood."""

    problem: Problem
    prompt: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class TaskRecord:
    """The content of ``task.json``.

    Attributes:
        identity: Settings that determine the completions.
        started: First start of the evaluation, in seconds since 1970.
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
        EvaluationError: The file is missing or damaged.
    """
    path = folder / TASK
    try:
        check_file(path)
        value = json.loads(path.read_text(encoding="utf-8"))
        return TaskRecord(**{**value, "asked": tuple(_parse_asked(asked) for asked in value["asked"])})
    except FileNotFoundError:
        raise EvaluationError(f"{folder} holds no evaluation ({TASK} is missing); evaluate a model first") from None
    except (ValueError, TypeError, KeyError) as error:
        raise EvaluationError(
            f"{path} is no record of an evaluation ({error}); delete {folder} and evaluate again"
        ) from error


def read_whole_batches(path: Path) -> tuple[list[Generation], int]:
    """Read the complete batches, and return them with their length in bytes.

    Raises:
        EvaluationError: A line before the end is no completion, which a kill cannot cause.
    """
    whole: list[Generation] = []
    batch: list[Generation] = []
    size = good = 0
    for number, line in enumerate(_read_lines(path), 1):
        batch.append(_parse_generation(line, f"{path}:{number}"))
        size += len(line)
        if len(batch) == batch[-1]["batch_size"]:
            whole += batch
            batch, good = [], size
    return whole, good


Key = tuple[str, Decoding, int]
"""Key of a completion: problem, decoding, number of the sample."""


def make_key(line: Generation) -> Key:
    """Return the key of a line's completion."""
    return line["problem"], line["decoding"], line["sample"]


def keep_latest(generations: Iterable[Generation]) -> dict[Key, Generation]:
    """Return the last generation of each completion, because a failed one may have been retried."""
    return {make_key(line): line for line in generations}


def note_seconds(folder: Path, batch: int, seconds: float, cpu_seconds: float) -> None:
    """Append the seconds and the process seconds of a batch to ``timing.jsonl``."""
    line = {"batch": batch, "seconds": round(seconds, 6), "cpu_seconds": round(cpu_seconds, 6)}
    with (folder / TIMING).open("ab") as file:
        file.write(format_json(line).encode("ascii"))


def drop_torn_line(path: Path) -> None:
    """Cut a file after its last complete line."""
    if path.exists():
        data = path.read_bytes()
        os.truncate(path, data.rfind(b"\n") + 1)


def read_seconds(folder: Path) -> tuple[float, float]:
    """Return the sums of the seconds and of the process seconds of all batches; an incomplete last line is ignored."""
    lines = [json.loads(line) for line in _read_lines(folder / TIMING)]
    return math.fsum(line["seconds"] for line in lines), math.fsum(line["cpu_seconds"] for line in lines)


def write_samples(folder: Path, samples: Iterable[Sample]) -> None:
    """Write ``samples.jsonl``; their checksum is written with the result."""
    unlist(folder, (SAMPLES, RESULT))
    write_atomic(folder / SAMPLES, "".join(format_json(sample) for sample in samples))


def read_samples(folder: Path) -> list[Sample]:
    """Read ``samples.jsonl``; nothing if the file is missing.

    Raises:
        EvaluationError: A line is damaged.
    """
    path = folder / SAMPLES
    try:
        return [json.loads(line) for line in _read_lines(path)]
    except ValueError as error:
        raise EvaluationError(f"{path} holds a line that is no sample ({error}); score {folder} again") from error


def format_json(value: Any) -> str:
    """Return a value as a line of JSON in ASCII."""
    return json.dumps(value) + "\n"


def _read_lines(path: Path) -> Iterator[bytes]:
    """Yield the complete lines of a file; nothing if there is no file."""
    if path.exists():
        check_file(path)
        with path.open("rb") as file:
            yield from (line for line in file if line.endswith(b"\n"))


def _parse_generation(line: bytes, place: str) -> Generation:
    try:
        value = json.loads(line)
        missing = _ALWAYS - value.keys()
    except (ValueError, AttributeError):
        missing = set(_ALWAYS)
    if missing:
        raise EvaluationError(
            f"{place} is no completion ({', '.join(sorted(missing))} missing); delete this line and all after it, and "
            "evaluate again: the lines before it are kept"
        )
    return value  # type: ignore[no-any-return]


def _parse_asked(value: dict[str, Any]) -> Asked:
    problem = value["problem"]
    form = Form(**{**problem["form"], "options": tuple(problem["form"]["options"])})
    return Asked(Problem(**{**problem, "form": form}), value["prompt"], tuple(value["options"]))

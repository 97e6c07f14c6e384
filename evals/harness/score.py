"""Run the second stage: compute samples and metrics from completions. It needs the folder, no model and no data."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from string import ascii_uppercase

from evals.benchmarks import BENCHMARKS, Benchmark, Problem
from evals.clock import process_seconds
from evals.harness.folder import (
    GENERATIONS,
    RESULT,
    Asked,
    Generation,
    TaskRecord,
    keep_latest,
    read_task,
    read_whole_batches,
    write_samples,
)
from evals.harness.identity import EvaluationError, list_completions
from evals.harness.progress import Progress, Tell, ignore
from evals.harness.results import write_result
from evals.metrics import Sample
from evals.verify import DEFAULT_STYLE, VERIFIER_VERSION, AnswerStyle, Verdict, Verifier

Cut = Callable[[str], Sequence[str]]
"""Function that cuts a completion into the texts of its steps."""

_CHUNK = 512  # completions between two progress reports


def score(  # noqa: PLR0913 - folders, verifier, segmenter and callback
    folder: Path, *, verifier: Verifier, cut: Cut, segmenter: str, out: Path | None = None, tell: Tell = ignore
) -> None:
    """Score the completions of a task's folder; write ``samples.jsonl`` and ``result.json``.

    Args:
        folder: A folder that `generate` has completed.
        verifier: Judges the answers.
        cut: Cuts a completion into steps. The steps are checked if the task names a benchmark that can do so.
        segmenter: Name of `cut`, for the identity of the result.
        out: Folder for both files; None: the folder itself.
        tell: Called with the progress.

    Raises:
        EvaluationError: Completions are missing.
    """
    record = read_task(folder)
    work = _pair_completions(folder, record)
    checker = None if record.checker is None else BENCHMARKS.get(record.checker)
    started, worked = time.perf_counter(), process_seconds()
    samples: list[Sample] = []
    for first in range(0, len(work), _CHUNK):
        chunk = work[first : first + _CHUNK]
        if record.identity["output"] == "choose":
            samples += [choose_option(asked, line) for asked, line in chunk]
        else:
            pairs = [(asked.problem, line) for asked, line in chunk]
            samples += judge(pairs, verifier=verifier, style=record.identity["answers"], cut=cut, checker=checker)
        seconds = time.perf_counter() - started
        tell(Progress("score", record.identity["task"], len(samples), len(work), len(samples), seconds=seconds))
    out = out or folder
    (out / RESULT).unlink(missing_ok=True)  # an existing result belongs to other samples
    write_samples(out, samples)
    scoring = {"verifier": VERIFIER_VERSION, "segmenter": segmenter}
    cost = {"score_seconds": time.perf_counter() - started, "score_cpu_seconds": process_seconds() - worked}
    write_result(folder, samples, scoring, cost, out)


def judge(
    pairs: Sequence[tuple[Problem, Generation]],
    *,
    verifier: Verifier,
    style: AnswerStyle = DEFAULT_STYLE,
    cut: Cut,
    checker: Benchmark | None,
) -> list[Sample]:
    """Return a sample for each completion; a completion that the token limit truncated has no answer."""
    came = [(problem, line) for problem, line in pairs if line["failure"] is None]
    verdicts = verifier.verify(
        [("" if line["truncated"] else line["completion"], problem.answer) for problem, line in came],
        [problem.form for problem, _ in came],
        style,
    )
    remaining = iter(verdicts)
    return [
        _make_failed(line)
        if line["failure"] is not None
        else _make_judged(problem, line, next(remaining), cut, checker)
        for problem, line in pairs
    ]


def choose_option(asked: Asked, line: Generation) -> Sample:
    """Return the sample of ranked options: by log-probability, and by log-probability per character.

    The length is the option's number of characters without the space before it, as in lm-eval's ``acc_norm``. Among
    equal options, the first is chosen.
    """
    if line["failure"] is not None:
        return {**_make_failed(line), "correct_norm": None}
    logprobs = [-math.inf if value is None else value for value in line["ranking"]["logprobs"]]
    lengths = [len(option.removeprefix(" ")) or 1 for option in asked.options]
    best = logprobs.index(max(logprobs))
    normed = [value / length for value, length in zip(logprobs, lengths, strict=True)]
    right = ascii_uppercase.index(asked.problem.answer)
    return {
        **_make_sample(line),
        "completion": asked.options[best],
        "correct": best == right,
        "correct_norm": normed.index(max(normed)) == right,
        "status": "right" if best == right else "wrong",
        "answer": ascii_uppercase[best],
    }


def _pair_completions(folder: Path, record: TaskRecord) -> list[tuple[Asked, Generation]]:
    """Return every completion of the record with its problem, problem by problem."""
    generations = keep_latest(read_whole_batches(folder / GENERATIONS)[0])
    each = list_completions(record.identity)
    wanted = [(asked, (asked.problem.id, *which)) for asked in record.asked for which in each]
    missing = sum(key not in generations for _, key in wanted)
    if missing:
        raise EvaluationError(
            f"{folder}: {missing} of {len(wanted)} completions are missing; evaluate the model again with the same "
            "settings: it resumes where it stopped"
        )
    return [(asked, generations[key]) for asked, key in wanted]


def _make_judged(problem: Problem, line: Generation, verdict: Verdict, cut: Cut, checker: Benchmark | None) -> Sample:
    steps = cut(line["completion"])
    sample: Sample = {
        **_make_sample(line),
        "correct": verdict.correct,
        "status": verdict.status,
        "answer": verdict.answer,
        "steps": len(steps),
    }
    if checker is not None:
        checked = checker.check_steps(problem, steps)
        sample |= {"wrong_steps": sorted(checked.wrong), "follow_steps": sorted(checked.follow)}
    return sample


def _make_failed(line: Generation) -> Sample:
    return {**_make_sample(line), "status": "failed"}


def _make_sample(line: Generation) -> Sample:
    """Return the fields of a sample that depend on its completion alone."""
    return {
        "problem": line["problem"],
        "decoding": line["decoding"],
        "sample": line["sample"],
        "completion": line["completion"],
        "correct": None,
        "status": "",
        "answer": None,
        "tokens": line["tokens"],
        "truncated": line["truncated"],
        "steps": 0,
    }

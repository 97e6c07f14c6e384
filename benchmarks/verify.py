"""The verifier on two workers against math-verify called one by one in one process, on real answers of real files.

``python -m benchmarks.verify [--data FOLDER]`` times both, without and with 5 % of hostile answers;
``--agreement`` compares their verdicts instead and prints every difference.
"""

from __future__ import annotations

import argparse
import collections
import importlib.util
import multiprocessing
import random
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.answers import Asked, Gold, labelled, made
from evals.verify import Form, Verifier
from evals.verify.answers import AnswerStyle, clean

REAL, SHARE, WORKERS = 5_000, 0.05, 2
SAMPLE = 24
"""Hostile answers for the serial side, which takes seconds for each; the rest is extrapolated."""
LONGEST = 30.0
"""Seconds after which the serial side is killed: its own time limit does not end a regular expression."""

_ROOT = Path(__file__).resolve().parents[1]
_FIVE = Gold("", "5", Form())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=_ROOT.parent / "shared" / "data")
    parser.add_argument("--agreement", action="store_true")
    arguments = parser.parse_args()
    if arguments.agreement:
        agree("labelled", labelled(arguments.data))
        agree("labelled, any last formula", labelled(arguments.data), "last_number")
        agree("made", made(arguments.data, REAL, seed=1))
    else:
        speed(made(arguments.data, REAL))


def speed(real: list[Asked]) -> None:
    """Time both sides on the same answers, in this one run."""
    hostile = [Asked(rf"\boxed{{{answer}}}", _FIVE, False) for answer in hostile_answers().values()]
    bad = [hostile[number % len(hostile)] for number in range(int(SHARE * REAL))]
    bad = [Asked(answer.completion, real[number].gold, None) for number, answer in enumerate(bad)]
    serial, _ = one_by_one(real)
    ours = pooled(real)
    print(f"{REAL} real answers: math-verify {serial:.1f} s, verifier {ours:.1f} s, ratio {serial / ours:.1f} (≥ 1.8)")
    draw = random.Random(0)
    sample = draw.sample(bad, SAMPLE)
    sampled, killed = one_by_one(sample)
    kept = REAL - len(bad)
    expected = serial * kept / REAL + sampled * len(bad) / SAMPLE
    mixed = real[:kept] + bad
    draw.shuffle(mixed)
    ours = pooled(mixed)
    print(
        f"{kept} real and {len(bad)} hostile answers: verifier {ours:.1f} s; math-verify {expected:.0f} s, "
        f"extrapolated: {SAMPLE} hostile ones drawn at random took {sampled:.1f} s "
        f"({killed} killed after {LONGEST:.0f} s), "
        f"ratio {expected / ours:.1f} (≥ 20)"
    )


def pooled(asked: Sequence[Asked]) -> float:
    """Return the verifier's seconds, without the start of its workers (the serial side's import is left out too)."""
    with Verifier(workers=WORKERS) as verifier:
        verifier.verify([(rf"\boxed{{y+{number}+y}}", f"2y+{number}") for number in range(64)])
        started = time.perf_counter()
        verifier.verify(
            [(answer.completion, answer.gold.answer) for answer in asked], [answer.gold.form for answer in asked]
        )
        return time.perf_counter() - started


def one_by_one(asked: Sequence[Asked]) -> tuple[float, int]:
    """Return math-verify's seconds in one process, and the number of answers at which it was killed."""
    total, killed, start = 0.0, 0, 0
    while start < len(asked):
        pipe, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        process = context.Process(
            target=direct_worker, args=(theirs, [(a.completion, a.gold.answer) for a in asked[start:]])
        )
        process.start()
        pipe.recv()
        while start < len(asked) and pipe.poll(LONGEST):
            total, start = total + pipe.recv()[1], start + 1
        if start < len(asked):
            total, killed, start = total + LONGEST, killed + 1, start + 1
        process.kill()
        process.join()
    return total, killed


def direct_worker(pipe: Connection, pairs: Sequence[tuple[str, str]]) -> None:
    """Verify one by one with math-verify's own time limits; send (verdict, seconds) of each."""
    import logging

    logging.disable(logging.CRITICAL)
    direct(r"\boxed{y+1+y}", "2y+1")
    pipe.send("ready")
    for completion, reference in pairs:
        started = time.perf_counter()
        verdict = direct(completion, reference)
        pipe.send((verdict, time.perf_counter() - started))


def direct(completion: str, reference: str) -> bool:
    """Call math-verify as its own documentation does."""
    from math_verify import parse, verify

    return bool(verify(parse(f"${clean(reference)}$"), parse(completion)))


def agree(kind: str, asked: list[Asked], style: AnswerStyle = "stated") -> None:
    """Print counts of the verdicts, and every answer on which the two differ or are both wrong."""
    with Verifier(workers=WORKERS) as verifier:
        pairs = [(a.completion, a.gold.answer) for a in asked]
        verdicts = verifier.verify(pairs, [a.gold.form for a in asked], style)
    theirs = [direct(answer.completion, answer.gold.answer) for answer in asked]
    rows = [
        (answer.truth, verdict.correct, other) for answer, verdict, other in zip(asked, verdicts, theirs, strict=True)
    ]
    counts = collections.Counter(rows)
    for (truth, mine, other), count in sorted(counts.items(), key=str):
        print(f"{kind}: truth {truth}, verifier {mine}, math-verify {other}: {count}")
    judged = [row for row in rows if row[0] is not None]
    right = [sum(row[0] == row[side] for row in judged) for side in (1, 2)]
    print(f"{kind}: of {len(judged)} with a known truth the verifier has {right[0]} right, math-verify {right[1]}")
    for answer, verdict, other in zip(asked, verdicts, theirs, strict=True):
        if verdict.correct != other or answer.truth not in (None, other):
            shown = repr(verdict.answer or answer.completion[-100:])
            judges = f"truth {answer.truth} | {verdict.status} | math-verify {other}"
            print(f"  {kind} | {judges} | {answer.gold.answer!r} | {shown}")


def hostile_answers() -> dict[str, str]:
    """Load the tests' answers that are made to take long; the others say nothing about speed."""
    path = _ROOT / "tests" / "evals" / "verify" / "hostile.py"
    spec = importlib.util.spec_from_file_location("hostile", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    answers: dict[str, str] = module.EXHAUSTING
    return answers


if __name__ == "__main__":
    main()

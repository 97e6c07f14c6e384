"""The verifier beside scorers of other harnesses on the tests' invented answers: false rights and wrongs by kind.

``python -m benchmarks.scorers [NAME …]`` prints the table of docs/verifier.md: ours, math-verify called as its
documentation does, lm-eval's own of GSM8K and Minerva, and inspect_ai's where that package is installed.
``--wrong`` prints the answers that they judge wrongly.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import logging
import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypedDict

ROWS = Path(__file__).resolve().parents[1] / "tests" / "evals" / "verify" / "answers.jsonl"


class Row(TypedDict):
    """An invented answer, and whether it is right by its meaning."""

    kind: str
    reference: str
    several: bool
    completion: str
    right: bool


Judge = Callable[[Sequence[Row]], list[bool]]


def ours(rows: Sequence[Row]) -> list[bool]:
    from evals.verify import Form, Verifier

    with Verifier(workers=2) as verifier:
        pairs = [(row["completion"], row["reference"]) for row in rows]
        return [bool(each.correct) for each in verifier.verify(pairs, [Form(several=row["several"]) for row in rows])]


def math_verify(rows: Sequence[Row]) -> list[bool]:
    from math_verify import parse, verify

    return [bool(verify(parse(f"${row['reference']}$"), parse(row["completion"]))) for row in rows]


def lm_eval_gsm8k(rows: Sequence[Row]) -> list[bool]:
    """Return what the task's flexible filter and its exact match without commas and dollars say."""
    numbers = re.compile(r"(-?[$0-9.,]{2,})|(-?[0-9]+)")

    def bare(text: str) -> str:
        return re.sub(r",|\$|\.$", "", text).lower()

    last = [[next(filter(None, groups)) for groups in numbers.findall(row["completion"])][-1:] for row in rows]
    return [bare("".join(number)) == bare(row["reference"]) for number, row in zip(last, rows, strict=True)]


def lm_eval_minerva(rows: Sequence[Row]) -> list[bool]:
    from lm_eval.tasks.minerva_math.utils import process_results

    judged: list[bool] = []
    for row in rows:
        doc = {"answer": row["reference"], "solution": rf"$\boxed{{{row['reference']}}}$"}
        try:
            judged.append(bool(process_results(doc, [row["completion"]])["exact_match"]))
        except Exception:  # what a scorer cannot take counts as wrong, as in its harness
            judged.append(False)
    return judged


def inspect_match(rows: Sequence[Row]) -> list[bool]:
    return _inspect("match", rows, numeric=True)


def inspect_math(rows: Sequence[Row]) -> list[bool]:
    return _inspect("math", rows)


def _inspect(name: str, rows: Sequence[Row], **options: Any) -> list[bool]:
    from inspect_ai.model import ModelOutput  # type: ignore[import-not-found]
    from inspect_ai.scorer import Target  # type: ignore[import-not-found]
    from inspect_ai.solver import TaskState  # type: ignore[import-not-found]

    scorer = getattr(importlib.import_module("inspect_ai.scorer"), name)(**options)

    async def judge(row: Row) -> bool:
        output = ModelOutput.from_content("none", row["completion"])
        state = TaskState("none/none", 0, 0, row["completion"], [], output=output)
        try:
            return bool((await scorer(state, Target(row["reference"]))).value == "C")
        except Exception:  # as it does of references that it cannot read
            return False

    async def judge_all() -> list[bool]:
        return [await judge(row) for row in rows]

    return asyncio.run(judge_all())


JUDGES: dict[str, tuple[str, Judge]] = {
    "verifier": ("capo-bench", ours),
    "math-verify": ("math-verify", math_verify),
    "lm-eval: gsm8k": ("lm_eval", lm_eval_gsm8k),
    "lm-eval: minerva_math": ("lm_eval", lm_eval_minerva),
    "inspect: match(numeric)": ("inspect_ai", inspect_match),
    "inspect: math": ("inspect_ai", inspect_math),
}
"""Name to the package that brings it, and the scorer."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(JUDGES)}; without any, all that are installed")
    parser.add_argument("--wrong", action="store_true", help="print what they judge wrongly")
    asked = parser.parse_args()
    logging.disable(logging.CRITICAL)
    rows: list[Row] = [json.loads(line) for line in ROWS.read_text(encoding="utf-8").splitlines()]
    verdicts = {name: JUDGES[name][1](rows) for name in asked.names or JUDGES if _installed(name)}
    if asked.wrong:
        for name, judged in verdicts.items():
            for row, verdict in zip(rows, judged, strict=True):
                if verdict != row["right"]:
                    print(f"{name} | {row['kind']} | {row['reference']} | {row['completion']!r} | {verdict}")
        return
    print(f"| kind | right, wrong | {' | '.join(verdicts)} |\n|---|---|{'---|' * len(verdicts)}")
    for kind in [*sorted({row["kind"] for row in rows}), None]:
        part = [index for index, row in enumerate(rows) if kind in (None, row["kind"])]
        cells = [_errors([rows[i] for i in part], [judged[i] for i in part]) for judged in verdicts.values()]
        size = Counter(rows[index]["right"] for index in part)
        print(f"| {kind or 'all'} | {size[True]}, {size[False]} | {' | '.join(cells)} |")


def _installed(name: str) -> bool:
    package = JUDGES[name][0]
    try:
        print(f"{name}: {package} {version(package)}", file=sys.stderr)
    except PackageNotFoundError:
        print(f"{name}: left out, {package} is not installed", file=sys.stderr)
        return False
    return True


def _errors(rows: Sequence[Row], verdicts: Sequence[bool]) -> str:
    """Return how many wrong answers are called right, and right ones wrong."""
    pairs = Counter((row["right"], verdict) for row, verdict in zip(rows, verdicts, strict=True))
    return f"{pairs[False, True]} / {pairs[True, False]}"


if __name__ == "__main__":
    main()

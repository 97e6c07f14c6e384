"""Real answers for the measurements of the verifier: references of the benchmarks, rewritten, altered and mixed up."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.verify import Form
from evals.verify.answers import clean, read_boxed

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Gold:
    """A reference answer with its problem's text."""

    problem: str
    answer: str
    form: Form


@dataclass(frozen=True)
class Asked:
    """A completion to judge; `truth` if a person, or its construction, tells whether it is right."""

    completion: str
    gold: Gold
    truth: bool | None


def golds(data: Path) -> list[Gold]:
    """Return the mathematical references of the files in `data`."""
    return list(_golds(data))


def _golds(data: Path) -> Iterator[Gold]:
    for name in ("math500", "aime24", "aime25", "amc23"):
        for row in _jsonl(data / name / "test.jsonl"):
            yield Gold(row["problem"], str(row["answer"]), Form())
    for row in _jsonl(data / "gsm8k" / "test.jsonl"):
        yield Gold(row["question"], row["answer"].split("####")[1].strip(), Form())
    for row in _jsonl(data / "minerva_math" / "test.jsonl"):
        yield Gold(row["problem"], read_boxed(row["solution"]) or "", Form())
    for row in _jsonl(data / "olympiadbench" / "test.jsonl"):
        form = Form(several=row["is_multiple_answer"], unit=row["unit"])
        yield Gold(row["question"], row["final_answer"][0], form)


def labelled(data: Path) -> list[Asked]:
    """Return ProcessBench's solutions of problems whose reference is known, with its label of the final answer."""
    referenced = {gold.problem.strip(): gold for gold in golds(data)}
    rows: Rows = [
        row
        for path in sorted((data / "processbench").glob("*.json"))
        for row in json.loads(path.read_text(encoding="utf-8"))
    ]
    return [
        Asked("\n\n".join(row["steps"]), referenced[problem], row["final_answer_correct"])
        for row in rows
        if (problem := row["problem"].strip()) in referenced
    ]


def made(data: Path, count: int, seed: int = 0) -> list[Asked]:
    """Return boxed answers: as many rewritten references as altered ones and as other problems' references.

    Rewritten ones are right; the truth of the others is unknown.
    """
    draw = random.Random(seed)
    pool = golds(data)
    symbolic = [gold for gold in pool if not re.fullmatch(r"[$]?-?[0-9.,]+[$]?", gold.answer)]
    answers = []
    for number in range(count):
        gold = draw.choice(symbolic if draw.random() < 0.5 else pool)
        answer = clean(gold.answer)
        if number % 2 == 0:
            answers.append(Asked(_box(rewritten(answer, draw)), gold, True))
        elif number % 4 == 1:
            answers.append(Asked(_box(altered(answer, draw)), gold, None))
        else:
            answers.append(Asked(_box(clean(draw.choice(pool).answer)), gold, None))
    return answers


def rewritten(answer: str, draw: random.Random) -> str:
    """Write an answer in another way with the same meaning."""
    fraction = re.fullmatch(r"\\frac\{([0-9]+)\}\{([0-9]+)\}", answer)
    ways = [
        answer,
        rf"\displaystyle {answer}",
        answer.replace(r"\frac", r"\dfrac"),
        answer if r"\left" in answer else answer.replace("(", r"\left(").replace(")", r"\right)"),
        re.sub(r"\s*([+=])\s*", r" \1 ", answer),
        f"{fraction[1]}/{fraction[2]}" if fraction else answer,
        re.sub(r"\\sqrt\{([0-9]+)\}", r"({\1})^{1/2}", answer),
    ]
    return draw.choice(ways)


def altered(answer: str, draw: random.Random) -> str:
    """Change one number or sign of an answer."""
    digits = list(re.finditer(r"[0-9]+", answer))
    if not digits:
        return f"2 {answer}"
    digit = draw.choice(digits)
    return f"{answer[: digit.start()]}{int(digit[0]) + draw.randint(1, 3)}{answer[digit.end() :]}"


def _box(answer: str) -> str:
    return rf"So the answer is \boxed{{{answer}}}."


def _jsonl(path: Path) -> Rows:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]

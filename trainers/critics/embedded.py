"""Train the embedded critic: a tiny language model that reviews solutions of coins, step by step, in words.

It reads the same prompt as every language critic and writes its critique as text, so that a laptop can run the real
pipeline from rollout to vote. For each step it writes the correct result, given the earlier claims, then the result
that the step states, and only then whether the step is right. Judging before computing the result was much harder to
learn; so was comparing results that are not next to each other. At the end it lists the wrong steps or, if it is asked
about the answer, judges the answer. A model that was taught to compute the answer by itself did the same for the steps
and judged none of them. Therefore the question changes only the last line of the critique.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from evals.benchmarks import Problem
from evals.coins.problems import draw, read
from evals.coins.pupil import draw_pupil
from evals.coins.solutions import attempt, review
from trainers import Emit
from trainers.backbones import BackboneConfig
from trainers.backbones.tiny import PIECES, build_model, build_tokenizer, save
from trainers.credit.critique import Aim
from trainers.credit.prompt import critique_prompt, write_instructions
from trainers.critics.base import EmbeddedCriticConfig
from trainers.sft import train_sft

SHAPE = BackboneConfig(source="embedded")
_PIECES = (
    rf"\n?\[\d+\]\n>|\[\d+\]|, says|: (?:right|wrong)|\n?(?:Problem|Solution|Reference answer|Critique):\n(?:>)?"
    rf"| ?\\boxed\{{|\n?Wrong steps: \[|{PIECES}"
)
_ASKED: tuple[tuple[Aim, bool], ...] = (("steps", False), ("steps", True), ("answer", False), ("answer", True))
"""What a lesson asks, and whether it shows the reference answer."""
_SHARES = (2, 2, 1, 1)

_NUMBER = re.compile(r"-?\d+")

Lesson = tuple[str, str]


def train_critic(config: EmbeddedCriticConfig, out: Path, record: Emit) -> None:
    """Build the embedded critic, train it, and write model and tokenizer to `out`."""
    lessons = list(_draw_lessons(config))
    tokenizer = build_tokenizer((_drop_instructions(prompt) + critique for prompt, critique in lessons[:4096]), _PIECES)
    # The instructions never vary, so each of them is one token for this model: the model reads what varies.
    tokenizer.add_tokens([write_instructions(aim, reference) for aim, reference in _ASKED])
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    model = build_model(SHAPE, tokenizer, config.number)
    train_sft(model, tokenizer, lessons, config, out, record)
    save(model, tokenizer, out)


def _draw_lessons(config: EmbeddedCriticConfig) -> Iterator[Lesson]:
    rng = random.Random(f"critic/{config.number}")
    problems = draw("reviews", config.steps * config.problems_per_step, config.number, config.operations)
    for problem in problems:
        aim, shown = rng.choices(_ASKED, _SHARES)[0]
        pupil = draw_pupil(config.misconceptions, config.slip, rng)
        steps = attempt(read(problem.prompt), rng, pupil, config.stray)
        prompt = critique_prompt(problem.prompt, steps, aim=aim, reference=problem.answer if shown else None)
        yield prompt, _write_critique(problem, steps, aim)


def _write_critique(problem: Problem, steps: Sequence[str], aim: Aim) -> str:
    reviewed = review(read(problem.prompt), steps)
    lines = [
        f"[{n}] {due}, says {_read_result(step)}: {'wrong' if wrong else 'right'} {n}\n"
        for n, (step, (due, wrong)) in enumerate(zip(steps, reviewed, strict=True), start=1)
    ]
    if aim == "steps":
        verdict = f"Wrong steps: {[n for n, (_, wrong) in enumerate(reviewed, start=1) if wrong]}"
    else:
        right = steps[-1] == f"\\boxed{{{problem.answer}}}"
        verdict = f"Answer: {'right' if right else 'wrong'}"
    return "".join(lines) + verdict


def _read_result(step: str) -> str:
    numbers = _NUMBER.findall(step)
    return numbers[-1] if numbers else "nothing"


def _drop_instructions(prompt: str) -> str:
    return prompt[prompt.index("Problem:\n") :]

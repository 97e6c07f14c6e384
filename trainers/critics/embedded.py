"""The embedded critic: a tiny language model taught to review solutions of coins, step by step, in words.

It reads the prompt that every language critic reads and writes its critique as text, so that on a laptop everything
between a rollout and its vote is real. Asked which steps are wrong, it writes of each what it should have been, given
the claims before it, and then whether the step is right: judging before working it out was much harder to learn. Asked
about the answer, it works the answer out, or copies the reference where it is shown one, and compares.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from evals.benchmarks import Problem
from evals.coins.problems import draw, read
from evals.coins.solutions import attempt, demonstrate, review
from trainers.backbones import BackboneConfig
from trainers.backbones.tiny import PIECES, build_model, build_tokenizer, save
from trainers.credit.prompt import critique_prompt, instructions
from trainers.critics.base import CriticLesson
from trainers.methods import Emit
from trainers.sft import train_sft

SHAPE = BackboneConfig(source="embedded")
_PIECES = (
    rf"\n?\[\d+\]\n>|\[\d+\]| (?:right|wrong)\n|\n?(?:Problem|Solution|Reference answer|Critique):\n(?:>)?"
    rf"| ?\\boxed\{{|\n?Wrong steps: \[|{PIECES}"
)
_ASKED = (("steps", False), ("steps", False), ("steps", True), ("answer", False), ("answer", True))
"""What a lesson asks, and whether it shows the reference: the steps more often, they are more to learn."""

_WINDOW = 16
"""Batches over which lessons are sorted by length, so that little of a batch is padding."""

Lesson = tuple[str, str]


def train_critic(lesson: CriticLesson, out: Path, record: Emit) -> None:
    """Build the embedded critic, teach it, and write model and tokenizer to `out`.

    Args:
        lesson: Length and content of what it is taught.
        out: Folder that receives the model; also the trainer's scratch folder.
        record: Called once a step with ``{"step", "of", "loss", …}``.
    """
    lessons = _sorted(list(_lessons(lesson)), lesson)
    tokenizer = build_tokenizer((_without_instructions(prompt) + said for prompt, said in lessons[:4096]), _PIECES)
    # The instructions never vary, so to this model each of them is one token: it reads what varies.
    tokenizer.add_tokens([instructions(aim, reference) for aim, reference in dict.fromkeys(_ASKED)])
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    model = build_model(SHAPE, tokenizer, lesson.seed)
    train_sft(
        model,
        tokenizer,
        lessons,
        batch_size=lesson.problems_per_step,
        learning_rate=lesson.learning_rate,
        seed=lesson.seed,
        out=out,
        record=record,
    )
    save(model, tokenizer, out)


def _lessons(lesson: CriticLesson) -> Iterator[Lesson]:
    rng = random.Random(f"critic/{lesson.seed}")
    problems = draw("train", lesson.steps * lesson.problems_per_step, lesson.seed, lesson.operations)
    for problem in problems:
        aim, shown = rng.choice(_ASKED)
        steps = attempt(read(problem.prompt), rng, lesson.slip, lesson.stray)
        prompt = critique_prompt(problem.prompt, steps, aim=aim, reference=problem.answer if shown else None)
        yield prompt, _review(problem, steps) if aim == "steps" else _judgment(problem, steps, shown)


def _review(problem: Problem, steps: Sequence[str]) -> str:
    found = review(read(problem.prompt), steps)
    lines = [f"[{n}] {due} {'wrong' if wrong else 'right'}\n" for n, (due, wrong) in enumerate(found, start=1)]
    return f"{''.join(lines)}Wrong steps: {[n for n, (_, wrong) in enumerate(found, start=1) if wrong]}"


def _judgment(problem: Problem, steps: Sequence[str], shown: bool) -> str:
    worked = "" if shown else demonstrate(read(problem.prompt), random.Random(0)).replace("\n\n", "\n") + "\n"
    said = steps[-1].removeprefix("\\boxed{").removesuffix("}")
    return f"{worked}says {said}, is {problem.answer}\nAnswer: {'right' if said == problem.answer else 'wrong'}"


def _sorted(lessons: list[Lesson], lesson: CriticLesson) -> list[Lesson]:
    """Return the lessons in batches of like length, the batches in random order."""
    rng, batch = random.Random(f"order/{lesson.seed}"), lesson.problems_per_step
    batches: list[list[Lesson]] = []
    for first in range(0, len(lessons), batch * _WINDOW):
        window = sorted(lessons[first : first + batch * _WINDOW], key=_length)
        batches += [window[at : at + batch] for at in range(0, len(window), batch)]
    rng.shuffle(batches)
    return [pair for each in batches for pair in each]


def _length(lesson: Lesson) -> int:
    prompt, said = lesson
    return len(_without_instructions(prompt)) + len(said)


def _without_instructions(prompt: str) -> str:
    return prompt[prompt.index("Problem:\n") :]

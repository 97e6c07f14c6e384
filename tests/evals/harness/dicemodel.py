"""A model whose completions are drawn by hashing seed, prompt and number: a whole `Model` without weights.

Run as a program it evaluates a small task into the folder that it is given, slowly enough to be killed.
"""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

from evals.benchmarks import Problem
from evals.coins import COINS
from evals.harness.generate import Asker
from evals.harness.generate import generate as generate_by
from evals.harness.tasks import EvalTask
from evals.models.base import Completion, Likelihood, Sampling, Usage
from evals.verify.forms import Form

HOSTILE = [
    "\ud800 alone",
    "\u2028\u2029\x85",
    "\x00\x1b[2J\r\n\r\n",
    "\u202eright to left",
    '"}\n{"problem": 1}',
    "\n" * 9,
    "٣ ½",
]
SAMPLING = Sampling(1.0, 1.0, 32)


class DiceModel:
    """Completions, hostile ones among them; the `failing` ones of all that are asked for do not come."""

    eager = False
    positions = None

    def __init__(self, batch=6, failing=lambda place: False, pause=0.0, **identity):
        self.batch = batch
        self.asked: list[str] = []
        self.rendered = 0
        self._failing, self._pause = failing, pause
        self._identity = {"backend": "dice", "weights": "d1ce", "dtype": "none", "template_hash": "0", **identity}

    def prompt(self, text):
        self.rendered += 1
        return f"Q: {text}\nA:"

    async def complete(self, prompts, n, sampling, *, seed, first=0):
        await asyncio.sleep(self._pause)
        return [[self._complete(prompt, seed, first + place) for place in range(n)] for prompt in prompts]

    def score(self, pairs):
        self.asked += [context + option for context, option in pairs]
        return [self.weigh(*pair) for pair in pairs]

    def weigh(self, context, option):
        return Likelihood(-random.Random(repr((context, option))).random() * 9, False)

    def identity(self):
        return self._identity

    async def close(self):
        pass

    def _complete(self, prompt, seed, number):
        rng = random.Random(repr((seed, prompt, number)))
        self.asked.append(prompt)
        if self._failing(len(self.asked) - 1):
            return Completion("the endpoint gave up after 3 attempts: 503", "error")
        text = (
            f"{rng.randint(0, 9)} + 1 = {rng.randint(0, 9)}\n\n{rng.choice(HOSTILE)}\n\n\\boxed{{{rng.randint(0, 30)}}}"
        )
        end = "length" if rng.random() < 0.2 else "stop"
        return Completion(text, end, Usage(output_tokens=rng.randint(1, 32)))


def generate(task, model, folder, *, seed=5, **how):
    """Ask a model for a task's completions, in an event loop of its own."""
    with asyncio.Runner() as runner:
        return generate_by(task, Asker(model, seed, runner), folder, **how)


def coins_task(count=7, samples=3, **changes):
    found = tuple(COINS.problems("test", count))
    given = {
        "name": "coins_test", "version": "1", "output": "generate", "problems": found, "greedy": False,
        "samples": samples, "sampling": SAMPLING, "checker": "coins", "data": COINS.fingerprint(),
        "source": "evals.coins test",
    }  # fmt: skip
    return EvalTask(**{**given, **changes})


def choice_task(questions):
    """A task of options: (text, options, letter of the right one)."""
    problems = tuple(
        Problem(f"q/{number}", text, letter, Form("choice", options=options))
        for number, (text, options, letter) in enumerate(questions)
    )
    queries = tuple((f"{text}\nAnswer:", tuple(f" {option}" for option in options)) for text, options, _ in questions)
    return coins_task(
        name="arc_ll", output="choose", problems=problems, greedy=True, samples=0, sampling=SAMPLING.greedily(),
        checker=None, data="qs", queries=queries,
    )  # fmt: skip


if __name__ == "__main__":
    generate(coins_task(10, 4), DiceModel(pause=0.02), Path(sys.argv[1]), seed=5)

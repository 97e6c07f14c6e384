"""What one request for k critiques saves through vLLM's server on a CPU, and what its prefix cache does.

    python -m benchmarks.critic_server [--rounds 15]

Two servers, with prefix caching and without, serve the same tiny model, and the model that the `openai` critic asks
through asks them in turn. Every round asks about solutions that were never asked about before; only the instructions
are known. All completions have the same length. Prints medians and their ratios. Needs vLLM, and the checkout to run
in.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from evals.coins import COINS
from evals.models.base import Completion, Model, Sampling
from evals.models.open import open_model
from evals.models.spec import read_spec
from tests.vllm_server import NAME, serving_vllm
from trainers.backbones import BACKBONES
from trainers.backbones.tiny import build_model, build_tokenizer, save
from trainers.credit.prompt import critique_prompt

K, BATCH, TOKENS = 8, 16, 64
SAMPLING = Sampling(1.0, 1.0, TOKENS)
TARGET = 1.5
STEPS = [f"She has {number} and finds 4: {number} + 4 = {number + 4}" for number in range(8)]

Ask = Callable[[Model, list[str]], Awaitable[list[list[Completion]]]]


async def one(model: Model, prompts: list[str]) -> list[list[Completion]]:
    return await model.complete(prompts, 1, SAMPLING, seed=0)


async def together(model: Model, prompts: list[str]) -> list[list[Completion]]:
    return await model.complete(prompts, K, SAMPLING, seed=0)


async def apart(model: Model, prompts: list[str]) -> list[list[Completion]]:
    """Ask for each of the k completions in a request of its own, all at once."""
    rows = await asyncio.gather(*(model.complete(prompts, 1, SAMPLING, seed=0, first=place) for place in range(K)))
    return [[completion for row in rows for completion in row[at]] for at in range(len(prompts))]


def open_endpoint(url: str) -> Model:
    settings = {"model": NAME, "backend": "openai", "base_url": url, "template": "message", "concurrency": K * BATCH}
    return open_model(read_spec(**settings, body={"ignore_eos": True}))


def fresh_prompts() -> Iterator[str]:
    """Yield prompts that differ from the first line of the problem on."""
    for number in itertools.count():
        (problem,) = COINS.problems("train", 1, seed=number)
        yield critique_prompt(f"Problem {number}. {problem.prompt}", STEPS)


class Clock:
    """Times ways of asking, and counts tokens."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}
        self.read: dict[str, list[int]] = {}
        self._prompts = fresh_prompts()

    async def take(self, name: str, model: Model, prompts: int, ask: Ask) -> None:
        asked = list(itertools.islice(self._prompts, prompts))
        await one(model, ["Wake up."])  # a server that had nothing to do answers its first request later
        began = time.perf_counter()
        rows = await ask(model, asked)
        self.seconds.setdefault(name, []).append(time.perf_counter() - began)
        completions = [completion for row in rows for completion in row]
        assert not any(completion.failed for completion in completions)
        self.read.setdefault(name, [0, 0])
        self.read[name][0] += sum(each.usage.prompt_tokens for each in completions)
        self.read[name][1] += sum(each.usage.cached_tokens for each in completions)

    def median(self, name: str) -> float:
        return statistics.median(self.seconds[name])

    def show(self, title: str, name: str, other: str, note: str = "") -> None:
        here, there = self.median(name), self.median(other)
        print(f"{title}: {here:.3f} s against {there:.3f} s, ratio {here / there:.2f}{note}")


async def measure(cached_url: str, plain_url: str, rounds: int) -> Clock:
    cached, plain = open_endpoint(cached_url), open_endpoint(plain_url)
    clock = Clock()
    for number in range(rounds + 2):
        if number == 2:  # the first two warm up
            clock.seconds.clear()
            clock.read.clear()
        for prompts in (1, BATCH):
            for name, ask in (("one", one), ("together", together), ("apart", apart)):
                await clock.take(f"{name} {prompts}", cached, prompts, ask)
            await clock.take(f"together {prompts}, plain", plain, prompts, together)
            await clock.take(f"apart {prompts}, plain", plain, prompts, apart)
    await cached.close()
    await plain.close()
    return clock


def show(clock: Clock, rounds: int) -> None:
    print(f"medians of {rounds} rounds, completions of {TOKENS} tokens")
    for prompts in (1, BATCH):
        solutions = "1 solution" if prompts == 1 else f"{prompts} solutions at once"
        target = f", target at most {TARGET}" if prompts == 1 else ""
        clock.show(
            f"{solutions}: k = {K} in one request against k = 1", f"together {prompts}", f"one {prompts}", target
        )
        names = f"together {prompts}", f"apart {prompts}"
        clock.show(f"{solutions}: one request with n = {K} against {K} requests", *names)
        for name, title in zip(names, (f"n = {K}", f"{K} requests"), strict=True):
            read, kept = clock.read[name]
            note = f"; {kept / read:.0%} of the prompt tokens cached"
            clock.show(f"{solutions}, {title}: with prefix caching against without", name, f"{name}, plain", note)


def untaught_critic(folder: Path) -> Path:
    """Write a tiny model that never ends by itself, so that all completions have one length, and return its folder."""
    tokenizer = build_tokenizer(problem.prompt for problem in COINS.problems("train", 40))
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    save(build_model(BACKBONES.load("tiny"), tokenizer, seed=0), tokenizer, folder)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = untaught_critic(folder / "model")
        with (
            serving_vllm(model, folder / "cached.log") as cached,
            serving_vllm(model, folder / "plain.log", "--no-enable-prefix-caching") as plain,
        ):
            show(asyncio.run(measure(cached, plain, rounds)), rounds)


if __name__ == "__main__":
    main()

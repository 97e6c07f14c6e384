"""Whether coins measures reasoning: what decoding alone gives the cold start, and what methods gain in every split.

    python -m benchmarks.coins [--home results] [--study voting] [--problems 256] [--votes 32]

Runs three variants of a study where the results folder does not hold them yet (the cold start, GRPO-Rule and CAPO with
the exact critic), and asks their policies: the cold start at several temperatures and by majority, all of them greedily
in every split. Prints the tables, and fails where one of the properties of docs/coins.md does not hold. Means over the
study's seeds.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from statistics import fmean

from transformers.utils import logging

from capo_bench.run.threads import EMBEDDED_THREADS, set_threads
from capo_bench.store.home import Home
from capo_bench.study.identity import hash_cold_start
from capo_bench.study.load import load_plan
from capo_bench.study.plan import Trial
from evals.coins import COINS
from evals.coins.problems import MEASURED
from evals.harness.folder import Generation
from evals.harness.score import judge
from evals.metrics import Sample, summarize
from evals.models.base import Sampling
from evals.models.open import open_model
from evals.models.spec import ModelSpec
from evals.verify import Verifier

VARIANTS = ("cold_start", "grpo_rule", "exact")
TEMPERATURES = (0.3, 0.5, 0.7, 1.0)
LEAST, MOST_OF_BEST = 0.10, 0.5
FLAWED = (0.03, 0.15)
MAX_TOKENS = 96


@dataclass(frozen=True)
class Questions:
    """What models are asked, and who judges the answers."""

    problems: int
    verifier: Verifier


def ask(model: str, split: str, questions: Questions, temperature: float = 0.0, samples: int = 1) -> list[Sample]:
    """Return the scored answers of a model to the first problems of a split."""
    problems = COINS.problems(split, questions.problems)
    opened = open_model(ModelSpec(model=model, template="bare"))
    sampling = Sampling(temperature, 1.0, MAX_TOKENS)
    prompts = [opened.prompt(problem.prompt) for problem in problems]
    rows = asyncio.run(opened.complete(prompts, samples, sampling, seed=0))
    asked = [problem for problem in problems for _ in range(samples)]
    lines: list[Generation] = [
        {
            "problem": problem.id, "decoding": "sampled" if temperature else "greedy", "sample": number % samples,
            "completion": answer.text, "tokens": answer.usage.output_tokens, "truncated": answer.end == "length",
            "failure": None, "batch": 0, "batch_size": len(asked),
        }
        for number, (problem, answer) in enumerate(zip(asked, chain.from_iterable(rows), strict=True))
    ]  # fmt: skip
    return judge(list(zip(asked, lines, strict=True)), verifier=questions.verifier, cut=_cut, checker=COINS)


def _cut(text: str) -> Sequence[str]:
    return text.split("\n\n")


def policies(study: str, home: Home) -> dict[str, list[str]]:
    """Return the folders of each variant's policies, a seed each, training what is not there."""
    only = [part for name in VARIANTS for part in ("--only", name)]
    command = [sys.executable, "-m", "capo_bench", "run", study, *only, "--home", str(home.path)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    trials = load_plan(study, only=VARIANTS).trials
    return {name: [_policy(trial, home) for trial in trials if trial.variant == name] for name in VARIANTS}


def _policy(trial: Trial, home: Home) -> str:
    trained = home.trial(trial.id).model
    return str(trained if trained.exists() else home.stage("cold_start", str(hash_cold_start(trial.config))))


def decode(start: str, votes: int, questions: Questions) -> tuple[float, float]:
    """Print what decoding gives the cold start on the test split; return the best of it and the flawed-right share."""
    greedy = summarize(ask(start, "test", questions))["accuracy"]
    best, flawed = greedy, 0.0
    print(f"\ncold start, test split, {questions.problems} problems\ngreedy                      {greedy:6.1%}")
    for temperature in TEMPERATURES:
        metrics = summarize(ask(start, "test", questions, temperature, votes))
        average, majority = metrics[f"avg_at_{votes}"], metrics[f"maj_at_{votes}"]
        best, flawed = max(best, average, majority), metrics["sampled_flawed_right"]
        coverage = ", ".join(f"pass@{k} {metrics[f'pass_at_{k}']:.1%}" for k in (1, 8, votes))
        print(f"T = {temperature}  avg@{votes} {average:6.1%}  maj@{votes} {majority:6.1%}  {coverage}")
    print(f"right answers by a wrong step, T = 1: {flawed:.1%}")
    return best, flawed


def compare(models: dict[str, list[str]], questions: Questions) -> dict[str, dict[str, float]]:
    """Print the greedy accuracy of every variant in every split, and return it by split and variant."""
    print(
        f"\ngreedy accuracy, {questions.problems} problems a split, mean over seeds\n{'':12}"
        + "".join(f"{v:>12}" for v in models)
    )
    table = {}
    for split in MEASURED:
        accuracies = {
            variant: [summarize(ask(model, split, questions))["accuracy"] for model in dict.fromkeys(folders)]
            for variant, folders in models.items()
        }
        table[split] = {variant: fmean(each) for variant, each in accuracies.items()}
        print(f"{split:12}" + "".join(f"{mean:12.1%}" for mean in table[split].values()))
    return table


def violations(best_decoded: float, flawed: float, table: dict[str, dict[str, float]]) -> Iterator[str]:
    """Yield the properties that do not hold."""
    best = max(table["test"].values())
    if best_decoded >= MOST_OF_BEST * best:
        yield f"decoding alone takes the cold start to {best_decoded:.1%}, half or more of the best method's {best:.1%}"
    for split, accuracies in table.items():
        start, best = accuracies[VARIANTS[0]], max(accuracies.values())
        if not LEAST < start < MOST_OF_BEST * best:
            yield f"{split}: the cold start has {start:.1%}, not between {LEAST:.0%} and half of the best {best:.1%}"
    low, high = FLAWED
    if not low <= flawed <= high:
        yield f"{flawed:.1%} of the cold start's right answers hold a wrong step, not {low:.0%} to {high:.0%}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", type=Path, default=Path("results"))
    parser.add_argument("--study", default="voting")
    parser.add_argument("--problems", type=int, default=256)
    parser.add_argument("--votes", type=int, default=32)
    arguments = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    set_threads(EMBEDDED_THREADS)
    models = policies(arguments.study, Home(arguments.home))
    with Verifier() as verifier:
        questions = Questions(arguments.problems, verifier)
        best, flawed = decode(models[VARIANTS[0]][0], arguments.votes, questions)
        table = compare(models, questions)
    broken = list(violations(best, flawed, table))
    print("\nall properties hold" if not broken else "\n" + "\n".join(broken))
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()

"""Training under a process reward model: what its steps report and cost, what is unscored, budgets, and resuming."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onebatch import trainer_of

from capo_bench.analysis.rollouts import credit_step
from trainers import prm_trainer
from trainers.criticised import CriticFailingError
from trainers.methods import METHODS
from trainers.prm.config import PrmConfig
from trainers.prm.scored import ScoredSolution
from trainers.prm.scorer import Scorer
from trainers.prm_trainer import ScoredTrainer
from trainers.rollouts import read_rollouts
from trainers.run import TrainRun

STEPS = {"steps": 4, "prompts_per_step": 2, "group_size": 4, "max_completion_tokens": 40}
CLOCKS = ("seconds", "cpu_seconds", "critic_wait")


@pytest.fixture
def prm_run(make_run: Any, taught_prm: Path) -> Callable[..., tuple[TrainRun, list[dict[str, Any]]]]:
    """Return a function that makes a run with the embedded model of the tests."""

    def make(**changes: Any) -> tuple[TrainRun, list[dict[str, Any]]]:
        run, records = make_run(**{"method": "prm_sum", **changes})
        return replace(run, prm=taught_prm), records

    return make


class Told(Scorer):
    """Says what it is told, of every rollout in turn."""

    def __init__(self, *said: ScoredSolution) -> None:
        self._said, self.seen = said, 0

    def to(self, device: torch.device) -> None:
        pass

    def score(self, solutions: Any) -> list[ScoredSolution]:
        self.seen += len(solutions)
        told = [self._said[row % len(self._said)] for row in range(len(solutions))]
        return [
            replace(one, scores=tuple(np.resize(one.scores, len(steps)).tolist()) if one.scores is not None else None)
            for one, (_, steps) in zip(told, solutions, strict=True)
        ]


def half_scored() -> Told:
    return Told(ScoredSolution((0.9, 0.2), tokens=30), ScoredSolution(None, "too_long"))


def step_of(run: TrainRun, scorer: Scorer) -> tuple[Any, Any]:
    """The trainer after it has scored one batch, and its advantages."""
    trainer = trainer_of(ScoredTrainer, run, scorer=scorer)
    rows = [trainer.train_dataset[index // 4] for index in range(8)]
    return trainer, trainer._generate_and_score_completions(rows)["advantages"]


@pytest.mark.parametrize("method", ["prm_sum", "prm_min"])
def test_it_trains_and_says_what_it_read(prm_run: Any, method: str) -> None:
    run, records = prm_run(method=method)
    assert prm_trainer.train(run)
    assert (run.model / "model.safetensors").exists()
    assert [record["step"] for record in records] == [1, 2]
    size = Scorer(PrmConfig(), str(run.prm)).parameters
    for record in records:
        assert (record["critiques"], record["abstained"], record["uncritiqued"]) == (8, 0, 0)
        assert record["critic_tokens"] == record["critic_prompt_tokens"] > record["policy_tokens"]
        assert 0 <= record["flagged_step_rate"] <= 1
        assert record["seconds_critique"] > 0
        own = record["policy_tokens"] + record["policy_prompt_tokens"]
        assert record["total_tokens"] - own == pytest.approx(record["critic_tokens"] * size / _policy_size(run))
    assert {"train", "prm"} == METHODS.get(method).uses


def _policy_size(run: TrainRun) -> int:
    from transformers import AutoModelForCausalLM

    return sum(weight.numel() for weight in AutoModelForCausalLM.from_pretrained(run.start).parameters())


def test_the_advantages_are_those_of_the_scores(prm_run: Any) -> None:
    run, _ = prm_run(prm={"w_whole": 0.0})
    trainer, found = step_of(run, Told(ScoredSolution((1.0, 0.0), tokens=1)))
    index = trainer.alignment.index
    for group in (slice(0, 4), slice(4, 8)):
        counts = [len(steps) for steps in trainer.alignment.steps[group]]
        scores = [np.resize([1.0, 0.0], count) for count in counts]
        flat = np.concatenate(scores)
        for row, (own, each) in enumerate(zip(index[group], scores, strict=True), start=group.start):
            normal = (each - flat.mean()) / flat.std() if flat.std() > 0 else each * 0
            by_hand = [normal[step:].sum() if step >= 0 else 0.0 for step in own]
            assert found[row].tolist() == pytest.approx(by_hand, abs=1e-5)


def test_what_is_unscored_is_counted_and_costs_nothing(prm_run: Any) -> None:
    trainer, found = step_of(prm_run(prm={"w_whole": 0.0})[0], half_scored())
    logged = {name: values[-1] for name, values in trainer._metrics["train"].items()}
    assert (logged["critiques"], logged["abstained"], logged["uncritiqued"]) == (8, 4, 4)
    assert logged["critic_tokens"] == 4 * 30
    assert not found[1::2].any(), "without a score there is no process signal"
    assert found[0::2].any()


def test_too_many_unscored_end_the_run(prm_run: Any) -> None:
    run, _ = prm_run(prm={"max_unscored": 0.4})
    with pytest.raises(CriticFailingError, match=r"4 of 8 rollouts .* \(too_long 4\), more than prm.max_unscored 0.4"):
        step_of(run, half_scored())
    (step,) = read_rollouts(run.rollouts)
    assert [row.scored.unscored for row in step.rollouts] == [None, "too_long"] * 4, "kept, to be looked at"


@pytest.mark.parametrize("settings", [{"method": "prm_sum"}, {"method": "prm_min", "prm": {"temperature": 0.2}}])
def test_what_is_kept_gives_the_advantages_of_training(prm_run: Any, settings: dict[str, Any]) -> None:
    run, _ = prm_run(**settings)
    trainer, found = step_of(run, half_scored())
    (step,) = read_rollouts(run.rollouts)
    assert [row.scored for row in step.rollouts] == trainer.scored
    for row, one in enumerate(credit_step(step, run.config)):
        tokens = np.repeat(one.advantages, one.rollout.tokens)
        assert found[row, : len(tokens)].tolist() == np.float32(tokens).tolist()
        assert not found[row, len(tokens) :].any()


def test_a_model_that_reads_nothing_ends_the_run(prm_run: Any) -> None:
    """A real one, whose positions no rollout fits."""
    run, _ = prm_run()
    scorer = Scorer(PrmConfig(), str(run.prm))
    scorer._positions = 4
    with pytest.raises(CriticFailingError, match=r"8 of 8 rollouts .* \(too_long 8\)"):
        step_of(run, scorer)


def test_a_lone_group_process_signal_is_told(prm_run: Any) -> None:
    trainer, _ = step_of(prm_run()[0], Told(ScoredSolution((0.9, 0.2), tokens=30)))
    equal = [len({*trainer.outcomes[group].tolist()}) == 1 for group in (slice(0, 4), slice(4, 8))]
    assert trainer._metrics["train"]["groups_process_signal_only"][-1] == np.mean(equal)


def test_an_embedded_model_that_was_not_taught_is_asked_for(make_run: Any) -> None:
    with pytest.raises(ValueError, match="none was taught"):
        prm_trainer.train(make_run(method="prm_sum")[0])


def test_a_budget_weighs_the_tokens_that_the_model_reads(prm_run: Any) -> None:
    run, records = prm_run(train={**STEPS, "budget": {"total_tokens": 1}})
    assert prm_trainer.train(run)
    assert len(records) == 1
    assert records[0]["budget_share"] == records[0]["total_tokens"] > records[0]["policy_tokens"]


def timeless(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in record.items() if not name.startswith(CLOCKS)} for record in records]


def test_a_run_that_was_stopped_goes_on_as_if_unbroken(prm_run: Any) -> None:
    torch.set_num_threads(1)
    whole, told = prm_run(method="prm_min", name="whole", train=STEPS)
    assert prm_trainer.train(whole)
    broken, first = prm_run(method="prm_min", name="broken", train=STEPS, stop=lambda: len(first) == 2)
    assert not prm_trainer.train(broken)
    second: list[dict[str, Any]] = []
    checkpoint = str(broken.out / "checkpoint-2")
    assert prm_trainer.train(replace(broken, resume=checkpoint, stop=lambda: False, record=second.append))
    assert timeless(first + second) == timeless(told)
    weights = [(run.model / "model.safetensors").read_bytes() for run in (whole, broken)]
    assert weights[0] == weights[1]
    kept = [{path.name: path.read_bytes() for path in run.rollouts.iterdir()} for run in (whole, broken)]
    assert len(kept[0]) == 4
    assert kept[0] == kept[1]

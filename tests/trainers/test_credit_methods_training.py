"""Every method that gives credit to steps trains on real rollouts, and what it kept gives its advantages again."""

from __future__ import annotations

from pkgutil import resolve_name
from typing import Any

import numpy as np
import pytest
import torch

from capo_bench.revote.batch import compute_earned, store_of
from trainers.budget import Meter
from trainers.config import TrialConfig
from trainers.methods import METHODS
from trainers.policy import PolicyTrainer
from trainers.rollouts import read_rollouts
from trainers.valued import ValuedTrainer

ONE_STEP = {"steps": 1, "prompts_per_step": 2, "group_size": 4, "max_completion_tokens": 40}
SAMPLED = {"values": {"samples": 3, "oracle_samples": 6}}
VOTED = ["vppo", "papo", "prpo", "progrs", "draco"]


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What each step hands to the update."""
    seen: list[dict[str, Any]] = []
    whole = PolicyTrainer._generate_and_score_completions

    def watched(self: Any, inputs: Any) -> Any:
        output = whole(self, inputs)
        seen.append({"advantages": output["advantages"].clone(), "mask": output["completion_mask"].bool()})
        return output

    monkeypatch.setattr(PolicyTrainer, "_generate_and_score_completions", watched)
    return seen


def trained(make_run: Any, method: str, **changes: Any) -> tuple[Any, Any]:
    run, records = make_run(method=method, train=ONE_STEP, critic={"name": "noisy"}, **changes)
    assert resolve_name(METHODS.get(method).train)(run)
    assert (run.model / "model.safetensors").exists()
    (step,) = read_rollouts(run.rollouts)
    assert np.isfinite(records[0]["grad_norm"])
    return run, step


@pytest.mark.parametrize("method", [*VOTED, "lambda_grpo", "rtmc"])
def test_a_method_trains_and_what_it_kept_gives_its_advantages(make_run: Any, handed: Any, method: str) -> None:
    run, step = trained(make_run, method)
    stored = store_of(step.rollouts)
    expected = stored.layout.by_token(compute_earned(stored, run.config).advantages)
    found = handed[0]["advantages"].double().numpy()[:, : expected.shape[1]]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("method", ["vineppo", "spo", "oracle"])
def test_values_are_those_of_the_policy_and_add_up(
    make_run: Any, handed: Any, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    count = ValuedTrainer._values
    monkeypatch.setattr(
        ValuedTrainer,
        "_values",
        lambda self, kept: seen.append((count(self, kept), self.outcomes)) or seen[-1][0],
    )
    _, step = trained(make_run, method, **SAMPLED)
    ((values, before), outcomes) = seen[0]
    layout = store_of(step.rollouts).layout
    total = np.bincount(layout.owner, values - before)
    np.testing.assert_allclose(total, outcomes - before[layout.starts], atol=1e-12)
    samples = 6 if method == "oracle" else 3
    np.testing.assert_allclose((before * samples) % 1, 0, atol=1e-9)
    given, mask = handed[0]["advantages"], handed[0]["mask"]
    assert (given[~mask] == 0).all()
    if method != "spo":
        np.testing.assert_allclose(given.double().numpy()[:, : layout.mask.shape[1]],
                                   layout.by_token(values - before), atol=1e-6)  # fmt: skip


def test_tokens_of_continuations_are_part_of_what_training_costs(make_run: Any) -> None:
    spent = []
    for samples in (3, 6):
        run, records = make_run(
            name=str(samples), method="vineppo", train=ONE_STEP, values={"samples": samples, "oracle_samples": 6}
        )
        assert resolve_name(METHODS.get("vineppo").train)(run)
        (record,) = records
        rest = {name: value for name, value in record.items() if name != "value_tokens"}
        size = round(record["policy_parameters"])
        without = Meter(size).read(rest)
        assert record["train_flops"] == without["train_flops"] + 2 * size * record["value_tokens"]
        assert record["total_tokens"] == without["total_tokens"] + record["value_tokens"]
        spent.append(record["value_tokens"])
    # A state is read once for all of its continuations, of which there are twice as many.
    assert 1 < spent[1] / spent[0] < 2


def test_one_seed_gives_one_training(make_run: Any) -> None:
    torch.set_num_threads(1)
    weights = []
    for name in ("a", "b"):
        run, _ = trained(make_run, "vineppo", name=name, **SAMPLED)
        weights.append((run.model / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]


def test_settings_that_a_method_does_not_heed_are_none_of_it() -> None:
    assert not METHODS.get("vineppo").heeds("values.oracle_samples")
    assert METHODS.get("oracle").heeds("values.oracle_samples")
    assert not METHODS.get("capo").heeds("values.samples")
    assert TrialConfig().terms.segment == 2

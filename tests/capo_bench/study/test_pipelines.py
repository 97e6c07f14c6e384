"""Seeds are whole pipelines where a study says so: cold start and embedded critic with the trial's seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner

from capo_bench.cli import main
from capo_bench.study.errors import StudyError
from capo_bench.study.estimate import estimate
from capo_bench.study.identity import SharedKind, hash_cold_start, list_shared_models
from capo_bench.study.plan import Plan, Trial
from trainers.config import TrialConfig
from trainers.teaching import add_trial_seed

Load = Callable[..., Plan]

EMBEDDED = "critic={name: transformers}"
SCORED = """
name: scored
question: How much should the outcome weigh?
baseline: w_whole=1.0
base: {method: prm_sum}
matrix: {prm.w_whole: [1.0, 2.0]}
seeds: [0, 1]
metrics: [coins_test/accuracy]
"""
OWN = ["cold_start.seed=trial", "critic.embedded.seed=trial"]


def keys(trial: Trial) -> dict[SharedKind, str]:
    return {model.kind: model.key for model in list_shared_models(trial.config)}


def by_seed(plan: Plan) -> dict[int, list[dict[SharedKind, str]]]:
    return {seed: [keys(trial) for trial in plan.trials if trial.seed == seed] for seed in (0, 1)}


def test_two_seeds_have_two_starts_and_two_critics(plan: Load, demo: str) -> None:
    first, second = by_seed(plan(demo, sets=[EMBEDDED, *OWN])).values()
    assert first[0] == first[1]  # the variants of a seed begin alike and ask alike
    assert second[0] == second[1]
    assert first[0].keys() == second[0].keys() == {"cold_start", "critic"}
    assert not {*first[0].values()} & {*second[0].values()}


def test_a_number_is_shared_by_all_seeds(plan: Load, demo: str) -> None:
    first, second = by_seed(plan(demo, sets=[EMBEDDED, "cold_start.seed=7"])).values()
    assert first == second


def test_each_model_has_a_seed_of_its_own(plan: Load, demo: str) -> None:
    first, second = by_seed(plan(demo, sets=[EMBEDDED, OWN[1]])).values()
    assert first[0]["cold_start"] == second[0]["cold_start"]
    assert first[0]["critic"] != second[0]["critic"]


def test_a_process_reward_model_too(plan: Load) -> None:
    first, second = by_seed(plan(SCORED, sets=["prm.embedded.seed=trial"])).values()
    assert first[0]["prm"] == first[1]["prm"] != second[0]["prm"]


def test_a_trials_own_seed_is_that_number(plan: Load, demo: str) -> None:
    """A trial is the same trial whether its start has its seed by name or by number."""
    named = plan(demo, sets=[EMBEDDED, *OWN])
    for seed in (0, 1):
        numbers = [EMBEDDED, f"cold_start.seed={seed}", f"critic.embedded.seed={seed}"]
        same = [trial for trial in named.trials if trial.seed == seed]
        assert same == [trial for trial in plan(demo, sets=numbers).trials if trial.seed == seed]


def test_variants_say_trial_and_trials_say_a_number(plan: Load, demo: str) -> None:
    planned = plan(demo, sets=OWN[:1])
    assert [variant.config.cold_start.seed for variant in planned.variants] == ["trial", "trial"]
    assert [trial.config.cold_start.seed for trial in planned.trials] == [trial.seed for trial in planned.trials]
    assert Plan.from_json(planned.as_json()) == planned


def test_variants_that_are_one_trial_under_one_of_the_seeds(errors: Callable[..., list[StudyError]], demo: str) -> None:
    text = demo.replace("credit.vote: [union, majority]", "cold_start.seed: [1, trial]")
    text = text.replace("vote=union", "cold_start.seed=1")
    (error,) = errors(text)
    assert error.rule.partition(":")[0] == "variants 'cold_start.seed=1' and 'cold_start.seed=trial' are the same trial"


def test_the_estimate_counts_every_start_and_critic(plan: Load, demo: str) -> None:
    shared, own = (estimate(plan(demo, sets=[EMBEDDED, *sets])) for sets in ([], OWN))
    assert [(made.kind, made.trials) for made in own.preparations] == [
        *(("cold_start", 2), ("critic", 2)),
        *(("cold_start", 2), ("critic", 2)),
    ]
    taught = sum(made.seconds or 0.0 for made in shared.preparations)
    assert own.seconds == pytest.approx(shared.seconds + taught)


def test_plan_says_how_many_are_made(write: Callable[[str], str], demo: str) -> None:
    sets = [part for text in (EMBEDDED, *OWN) for part in ("--set", text)]
    told = CliRunner().invoke(main, ["plan", write(demo), *sets]).output
    assert "cold starts: 2, of which 0 done" in told
    assert "embedded critics: 2, of which 0 done" in told


@pytest.mark.parametrize("seed", ["tral", True, 1.5, None])
def test_a_seed_is_a_number_or_trial(errors: Callable[..., list[StudyError]], demo: str, seed: Any) -> None:
    written = {True: "true", None: "null"}.get(seed, seed)
    (error,) = errors(demo.replace("base:\n", f"base:\n  cold_start: {{seed: {written}}}\n"))
    assert f"cold_start.seed: seed {seed!r} is neither a whole number nor 'trial'" in str(error)


def test_without_a_trial_there_is_no_seed() -> None:
    config = TrialConfig.model_validate({"cold_start": {"seed": "trial"}})
    with pytest.raises(ValueError, match="there is none here: set it to a number"):
        _ = config.cold_start.number
    assert hash_cold_start(add_trial_seed(config, 5)) == hash_cold_start(
        TrialConfig.model_validate({"cold_start": {"seed": 5}})
    )


def test_settings_without_trial_are_left_as_they_are() -> None:
    config = TrialConfig()
    assert add_trial_seed(config, 5) is config

"""Controls and budgets through the real command line: they run, `verify` derives where each training ended, and says
so where somebody has changed it."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from click.testing import CliRunner
from commands import capo_bench

from capo_bench.cli import main
from capo_bench.store.home import TrialFolder
from capo_bench.verify.checks import Check
from capo_bench.verify.training import _check_end, _check_sizes
from evals.checksums import seal
from trainers.config import TrainConfig, TrialConfig

if TYPE_CHECKING:
    from capo_bench.study.plan import Trial

STUDY = """
name: spending
question: Where does training end?
baseline: tokens
metrics: [coins_test/accuracy]
base:
  method: capo
  cold_start: {steps: 4, problems_per_step: 16}
  train: {steps: 50, prompts_per_step: 2, group_size: 4, max_completion_tokens: 24}
  critic: {name: exact}
  credit: {critiques: 1, vote: union}
  evaluation: {tasks: [coins_test], problems: 4, max_completion_tokens: 24}
include:
  - {name: tokens, set: {method: outcome_only, train.budget: {policy_tokens: 300}}}
  - {name: with_prompts, set: {critic: {name: random, rate: 0.5}, train.budget: {total_tokens: 600}}}
  - {name: flops, set: {method: spread, train.budget: {train_flops: 2.5e9}}}
  - {name: clock, set: {critic: {name: shuffled}, train.budget: {seconds: 0.01}}}
  - {name: whole, set: {critic: {name: shuffled}, train.steps: 2}}
seeds: [0]
"""
BUDGETED = ("tokens", "with_prompts", "flops")

Forge = Callable[[Path], None]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``spending.yaml`` and its results in ``home``."""
    folder = tmp_path_factory.mktemp("spending")
    (folder / "spending.yaml").write_text(STUDY, encoding="utf-8")
    capo_bench(folder, "run", "spending.yaml", "--no-tracking", "--workers", "1")
    return folder


def trial(home: Path, variant: str) -> Path:
    (found,) = (
        path.parent
        for path in home.glob("trials/*/config.json")
        if json.loads(path.read_text(encoding="utf-8"))["variant"] == variant
    )
    return found


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in TrialFolder(folder).steps.read_text(encoding="utf-8").splitlines()]


def write(folder: Path, steps: list[dict[str, Any]]) -> None:
    TrialFolder(folder).steps.write_text("".join(json.dumps(step) + "\n" for step in steps), encoding="utf-8")


def verified(study: Path, home: Path, expect: int) -> dict[str, Any]:
    words = ["verify", str(study / "spending.yaml"), "--home", str(home), "--json"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == expect, result.output
    return dict(json.loads(result.stdout))


def test_each_training_ended_with_the_step_that_reached_its_budget(study: Path) -> None:
    for variant in BUDGETED:
        *before, last = records(trial(study / "home", variant))
        assert before, "a budget of more than one step, or the test shows nothing"
        assert all(step["budget_share"] < 1 for step in before)
        assert last["budget_share"] >= 1
    assert len(records(trial(study / "home", "whole"))) == 2


def test_prompts_and_sizes_are_on_record_and_the_operations_follow(study: Path) -> None:
    for step in records(trial(study / "home", "flops")):
        assert step["policy_prompt_tokens"] == step["policy_prefill_tokens"] > 0
        tokens = step["policy_tokens"] + step["policy_prompt_tokens"]
        assert step["train_flops"] == pytest.approx(8 * step["policy_parameters"] * tokens)
        assert step["total_tokens"] == pytest.approx(tokens)
        assert step["cpu_seconds"] > 0


def test_a_study_with_budgets_and_controls_verifies(study: Path) -> None:
    found = verified(study, study / "home", expect=0)
    assert found["passed"] is True


def stop_early(folder: Path) -> None:
    *kept, last = records(folder)
    write(folder, kept)
    for file in TrialFolder(folder).rollouts.glob(f"{last['step']:05d}.*"):
        file.unlink()


def go_on(folder: Path) -> None:
    steps = records(folder)
    last = steps[-1]["step"]
    write(folder, [*steps, steps[-1] | {"step": last + 1}])
    for file in TrialFolder(folder).rollouts.glob(f"{last:05d}.*"):
        shutil.copy(file, file.with_name(file.name.replace(f"{last:05d}", f"{last + 1:05d}")))


def other(name: str) -> Forge:
    def forge(folder: Path) -> None:
        first, *rest = records(folder)
        write(folder, [first | {name: 1.0}, *rest])

    return forge


@pytest.mark.parametrize("variant", BUDGETED)
@pytest.mark.parametrize(
    ("forge", "place"),
    [
        (stop_early, "steps.jsonl: steps"),
        (go_on, "steps.jsonl: steps"),
        (other("budget_share"), "step 1 budget_share"),
        (other("total_tokens"), "step 1 total_tokens"),
        (other("train_flops"), "step 1 train_flops"),
        (other("policy_prompt_tokens"), "step 1 policy_prompt_tokens"),
        (other("policy_parameters"), "policy_parameters"),
        (other("critic_parameters"), "critic_parameters"),
    ],
)
def test_what_is_forged_of_the_spending_is_found(
    study: Path, tmp_path: Path, variant: str, forge: Forge, place: str
) -> None:
    home = tmp_path / "home"
    shutil.copytree(study / "home", home)
    forge(folder := trial(home, variant))
    seal(TrialFolder(folder).trained, ["steps.jsonl", "rollouts"])
    found = verified(study, home, expect=1)
    differing = [one["where"] for one in found["checks"]["steps"]["mismatches"]]
    assert any(place in where for where in differing), differing


@pytest.mark.parametrize("variant", ["whole", "clock", "with_prompts"])
def test_a_drawn_critique_is_drawn_again(study: Path, tmp_path: Path, variant: str) -> None:

    home = tmp_path / "home"
    shutil.copytree(study / "home", home)
    file = next(TrialFolder(trial(home, variant)).rollouts.glob("00001.*"))
    first, *rest = gzip.decompress(file.read_bytes()).splitlines(keepends=True)
    rollout = json.loads(first)
    said = rollout["critiques"][0]["wrong"]
    rollout["critiques"][0]["wrong"] = [step for step in range(len(rollout["steps"])) if step not in said]
    file.write_bytes(gzip.compress(b"".join([json.dumps(rollout).encode() + b"\n", *rest]), mtime=0))
    seal(file.parents[1], ["rollouts"])
    found = verified(study, home, expect=1)
    assert any(":1 critique 0" in one["where"] for one in found["checks"]["critiques"]["mismatches"])


def ended(*shares: float) -> Check:
    check, train = Check(), TrainConfig.model_validate({"steps": 50, "budget": {"seconds": 10}})
    rows = [{"step": step, "seconds": 10 * share} for step, share in enumerate(shares, 1)]
    assert train.budget is not None
    for row, share in zip(rows, train.budget.shares(rows), strict=True):
        row["budget_share"] = share
    _check_end(check, "steps.jsonl", rows, train)
    return check


def test_a_clock_may_end_training_a_little_early_but_not_at_a_twentieth() -> None:
    near, early, whole = ended(0.5, 0.45), ended(0.03, 0.02), ended(0.5, 0.6)
    assert not near.mismatches
    assert near.measured["the step that ended training, which a clock decided"] == 1
    assert [(one.where, one.recorded, one.derived) for one in early.mismatches] == [("steps.jsonl: steps", "2", "50")]
    assert not whole.mismatches
    assert not whole.measured


@pytest.mark.parametrize(("settings", "told", "differs"), [(7e9, 7e9, 0), (7e9, 1e9, 1), (None, 1e9, 0)])
def test_the_size_of_a_critic_is_that_of_the_settings_or_is_said_to_be_unchecked(
    tmp_path: Path, settings: float | None, told: float, differs: int
) -> None:
    critic = {"name": "openai", "model": "org/critic", "base_url": "http://127.0.0.1:1/v1", "parameters": settings}
    config = TrialConfig.model_validate({"method": "capo", "critic": critic})
    check, trial = Check(), cast("Trial", SimpleNamespace(config=config, seed=0))
    records = [{"policy_parameters": 1.0, "critic_parameters": told}]
    _check_sizes(check, "steps.jsonl", records, trial, TrialFolder(tmp_path))
    assert len(check.mismatches) == differs
    assert check.unchecked["the critic's size, which only its weights tell"] == (settings is None)

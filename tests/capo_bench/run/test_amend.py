"""A study that is changed after it was run, through the command line: only what is new is done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import capo_bench

from capo_bench.store.home import Home, TrialFolder, read_json

STUDY: dict[str, Any] = {
    "name": "amended",
    "question": "What has to be done again?",
    "baseline": "grpo_rule",
    "start": "start",
    "metrics": ["coins_test/accuracy"],
    "base": {
        "cold_start": {"steps": 4, "problems_per_step": 8},
        "train": {"steps": 2, "prompts_per_step": 2, "group_size": 4, "max_completion_tokens": 24},
        "critic": {"name": "noisy"},
        "evaluation": {"tasks": ["coins_test"], "problems": 6, "max_completion_tokens": 24},
    },
    "include": [
        {"name": "capo", "set": {"method": "capo"}},
        {"name": "grpo_rule", "set": {"method": "grpo_rule"}},
        {"name": "start", "set": {"method": "sft"}},
    ],
    "seeds": [0],
}
BOTH = {"tasks": ["coins_test", "coins_longer"]}


def amended(evaluation: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    base = {**STUDY["base"], "evaluation": {**STUDY["base"]["evaluation"], **(evaluation or {})}}
    return {**STUDY, "base": base, **changes}


class Bench:
    """A results folder, and the command line that fills it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, Home(folder / "home")

    def call(self, command: str, study: dict[str, Any], *options: str) -> str:
        (self.folder / "study.yaml").write_text(yaml.safe_dump(study))
        return capo_bench(self.folder, command, "study.yaml", *options)

    def run(self, study: dict[str, Any], *options: str) -> dict[str, TrialFolder]:
        """Run a study; return the trials that are new, by variant and seed."""
        before = self.trials()
        self.call("run", study, "--no-tracking", "--workers", "1", *options)
        told = {
            name: (folder, read_json(folder.config)) for name, folder in self.trials().items() if name not in before
        }
        return {f"{config['variant']} {config['seed']}": folder for folder, config in told.values()}

    def trials(self) -> dict[str, TrialFolder]:
        return {path.parent.name: TrialFolder(path.parent) for path in self.home.path.glob("trials/*/metrics.json")}


def shared(folder: TrialFolder, *others: TrialFolder) -> set[str]:
    """Places of the stages that a trial shares with one of the others."""
    return {place for place, key in folder.keys().items() if any(other.keys().get(place) == key for other in others)}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bench, dict[str, TrialFolder]]:
    """The study as it was run first, and its trials."""
    bench = Bench(tmp_path_factory.mktemp("amended"))
    return bench, bench.run(STUDY)


def test_another_benchmark_trains_nothing_and_asks_only_the_new_one(done: tuple[Bench, dict[str, TrialFolder]]) -> None:
    bench, before = done
    study = amended(BOTH)
    plan = bench.call("plan", study)
    assert "2 of them only need evaluation: they are trained" in plan
    found = bench.run(study)
    assert {*found} == {*before}
    for name, folder in found.items():
        theirs = before[name]
        train = {"training"} if name != "start 0" else set()
        assert shared(folder, theirs) == {*theirs.keys()} == train | {"completions/coins_test"}
        assert folder.samples("coins_test").read_bytes() == theirs.samples("coins_test").read_bytes()
        assert folder.samples("coins_longer").exists()
        metrics, old = (read_json(one.metrics)["metrics"] for one in (folder, theirs))
        assert metrics.items() > old.items()
        if train:
            assert (folder.steps, folder.model) == (theirs.steps, theirs.model)
            costs = [read_json(one.metrics)["cost"]["train_seconds"] for one in (folder, theirs)]
            assert costs[0] == costs[1] > 0


def test_another_variant_and_another_seed_run_alone(done: tuple[Bench, dict[str, TrialFolder]]) -> None:
    bench, before = done
    more = {"name": "capo union", "set": {"method": "capo", "credit.vote": "union"}}
    study = amended(include=[*STUDY["include"], more], seeds=[0, 1])
    found = bench.run(study, "--only", "grpo_rule", "--only", "capo union")
    assert {name: shared(folder, *before.values()) for name, folder in found.items()} == {
        "grpo_rule 1": set(),
        "capo union 0": set(),
        "capo union 1": set(),
    }


def test_two_trials_of_one_training_at_the_same_time_train_once(done: tuple[Bench, dict[str, TrialFolder]]) -> None:
    """What they differ in is what else they are asked."""
    bench, _ = done
    capo = {"method": "capo", "train.steps": 3}
    two = [{"name": "one", "set": capo}, {"name": "two", "set": {**capo, "evaluation.tasks": BOTH["tasks"]}}]
    study = amended(include=[*STUDY["include"], *two])
    found = bench.run(study, "--only", "one", "--only", "two", "--workers", "2")
    assert shared(found["one 0"], found["two 0"]) == {"training", "completions/coins_test"}

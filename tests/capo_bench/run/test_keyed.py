"""Stages under their keys: done once, whole or not there, found by whoever needs them, never of another training."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from capo_bench.store.home import Home, TrialFolder, write_json
from capo_bench.store.keyed import claim_stages, keep, take_answered, take_trained
from capo_bench.study.identity import (
    add_seed,
    hash_generation,
    hash_plain,
    hash_stages,
    hash_training,
    identify_trial,
    make_trial_id,
)
from capo_bench.study.plan import Trial
from evals.benchmarks import Problem
from evals.checksums import ChangedFileError, read_listed, seal
from evals.harness.folder import Asked, TaskRecord, format_json, write_task
from trainers.config import TrialConfig

TASK = "completions/coins_test"
FILES = ("steps.jsonl", "rollouts/00001.0.jsonl.gz", "training.json", "model/model.safetensors", "model/sub/more.json")


def make_trial(seed: int = 0, **changes: Any) -> Trial:
    tree = {"critic": {"name": "noisy"}, "evaluation": {"tasks": ["coins_test"]}, **changes}
    config = TrialConfig.model_validate(tree)
    parts = identify_trial(config)
    return Trial(make_trial_id(hash_plain(parts), seed), "v", seed, config, add_seed(parts, seed))


def trained(home: Home, trial: Trial, text: str = "theirs") -> TrialFolder:
    """What a training leaves in the trial's own folder."""
    folder = home.trial(trial.id)
    write_json(folder.config, trial.as_json())
    for name in FILES:
        path = folder.path / "training" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text} {name}")
    return folder


def asked(home: Home, trial: Trial, **model: Any) -> TrialFolder:
    """What the generation of one task leaves in the trial's own folder."""
    folder = home.trial(trial.id)
    problems = tuple(Asked(Problem(f"p/{number}", "1 + 1 = ?", "2"), "1 + 1 = ?") for number in range(2))
    write_task(folder.path / TASK, TaskRecord({"greedy": False, "samples": 1, "model": model}, "", None, 0.0, problems))
    for name in ("generations.jsonl", "timing.jsonl"):
        (folder.path / TASK / name).write_text(format_json({"of": trial.id}))
    return folder


def train_key(trial: Trial) -> str:
    return hash_training(trial.identity, trial.seed)


def task_key(trial: Trial) -> str:
    return hash_generation(trial.identity, "coins_test", trial.seed)


def keep_training(home: Home, trial: Trial) -> Path:
    keep(home, trained(home, trial), "training", train_key(trial))
    return home.stage("training", train_key(trial))


def keep_answers(home: Home, trial: Trial, **model: Any) -> Path:
    keep(home, asked(home, trial, **model), TASK, task_key(trial))
    return home.stage("completions", task_key(trial))


def content(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def first() -> Trial:
    return make_trial()


@pytest.fixture
def second() -> Trial:
    """It shares the first one's training and its completions of one task, and is asked another task too."""
    return make_trial(evaluation={"tasks": ["coins_test", "coins_longer"]})


# -- training


def test_what_training_left_lies_under_its_key_and_is_listed(home: Home, first: Trial) -> None:
    stage, folder = keep_training(home, first), home.trial(first.id)
    assert content(stage).keys() == {*FILES, "SHA256SUMS"}
    assert read_listed(stage).keys() == {*FILES}
    assert folder.keys() == {"training": train_key(first)}
    assert folder.steps == stage / "steps.jsonl"
    assert not (folder.path / "training").exists()


def test_what_is_listed_already_is_listed_once(home: Home, first: Trial) -> None:
    folder = trained(home, first)
    seal(folder.trained, ["steps.jsonl"])
    keep(home, folder, "training", train_key(first))
    assert read_listed(home.stage("training", train_key(first))).keys() == {*FILES}


def test_another_trial_of_the_same_training_has_it_by_its_key_alone(home: Home, first: Trial, second: Trial) -> None:
    stage, ours = keep_training(home, first), home.trial(second.id)
    shutil.rmtree(home.trial(first.id).path)  # whoever did it
    assert take_trained(home, ours, train_key(second))
    assert ours.model == stage / "model"


@pytest.mark.parametrize(
    "changes",
    [
        {"evaluation": {"tasks": ["coins_longer"]}},
        {"evaluation": {"tasks": ["coins_test"], "problems": 7}},
        {"evaluation": {"tasks": ["coins_test"], "segmenter": "lines"}},
    ],
)
def test_another_evaluation_is_of_the_same_training(first: Trial, changes: Any) -> None:
    assert train_key(make_trial(**changes)) == train_key(first)


@pytest.mark.parametrize("changes", [{"train": {"steps": 7}}, {"method": "grpo_rule"}, {"critic": {"name": "exact"}}])
def test_another_training_has_another_key(first: Trial, changes: Any) -> None:
    assert len({train_key(first), train_key(make_trial(**changes)), train_key(make_trial(seed=1))}) == 3


def test_a_trial_may_list_the_keys_of_its_identity_alone(first: Trial) -> None:
    assert hash_stages(first.identity, 0) == {"training": train_key(first), TASK: task_key(first)}


def test_what_was_begun_here_goes(home: Home, first: Trial, second: Trial) -> None:
    keep_training(home, first)
    ours = asked(home, second, weights="of another model")
    write_json(ours.checkpoints / "resume.json", {"checkpoint": "checkpoint-1", "step": 1})
    (ours.evaluation / "coins_test").mkdir(parents=True)
    assert take_trained(home, ours, train_key(second))
    assert sorted(path.name for path in ours.path.iterdir()) == ["stages.json"]


def test_weights_that_were_freed_are_trained_anew_in_the_trial_s_own_folder(
    home: Home, first: Trial, second: Trial
) -> None:
    """What a finished trial was made with is not written over: an accelerator may train other weights."""
    stage = keep_training(home, first)
    shutil.rmtree(stage / "model")
    before, ours = content(stage), home.trial(second.id)
    assert not take_trained(home, ours, train_key(second))
    keep(home, trained(home, second, "ours"), "training", train_key(second))
    assert content(stage) == before
    assert ours.keys() == {}
    assert ours.steps.read_text() == "ours steps.jsonl"
    assert read_listed(ours.trained).keys() == {*FILES}


def test_a_listed_training_that_is_gone_is_owed(home: Home, first: Trial) -> None:
    shutil.rmtree(keep_training(home, first))
    assert not take_trained(home, home.trial(first.id), train_key(first))
    assert home.trial(first.id).keys() == {}


def test_a_changed_byte_under_a_key_is_told(home: Home, first: Trial, second: Trial) -> None:
    stage = keep_training(home, first)
    (stage / "steps.jsonl").write_text("another")
    with pytest.raises(ChangedFileError, match=r"its bytes differ from the checksum.*delete .*made again"):
        take_trained(home, home.trial(second.id), train_key(second))
    assert not home.trial(second.id).path.exists()


# -- completions


def test_completions_are_shared_task_by_task(home: Home, first: Trial, second: Trial) -> None:
    stage, ours = keep_answers(home, first, weights="w"), home.trial(second.id)
    assert take_answered(home, ours, TASK, task_key(second), lambda: "w")
    assert ours.completions("coins_test") == stage
    assert ours.completions("coins_longer") == ours.path / "completions" / "coins_longer"
    longer = hash_generation(second.identity, "coins_longer", 0)
    assert not take_answered(home, ours, "completions/coins_longer", longer, lambda: "w")


def test_completions_that_were_begun_here_are_replaced(home: Home, first: Trial, second: Trial) -> None:
    keep_answers(home, first, weights="w")
    ours = asked(home, second, weights="w")
    assert take_answered(home, ours, TASK, task_key(second), lambda: "w")
    assert not (ours.path / TASK).exists()
    assert first.id in (ours.completions("coins_test") / "generations.jsonl").read_text()


@pytest.mark.parametrize("weights", ["nearly w", None])
def test_completions_of_other_weights_are_not_taken(
    home: Home, first: Trial, second: Trial, weights: str | None
) -> None:
    """The same training on an accelerator, done twice."""
    stage = keep_answers(home, first, weights="w")
    before, ours = content(stage), asked(home, second, weights=weights)
    assert not take_answered(home, ours, TASK, task_key(second), lambda: weights)
    keep(home, ours, TASK, task_key(second))
    assert content(stage) == before
    assert second.id in (ours.completions("coins_test") / "generations.jsonl").read_text()


def test_completions_of_a_model_from_a_hub_are_known_by_their_key(home: Home, first: Trial, second: Trial) -> None:
    keep_answers(home, first, model="org/model", revision="abc")
    assert take_answered(home, home.trial(second.id), TASK, task_key(second), lambda: None)


def test_an_adapter_is_known_by_its_own_weights(home: Home, first: Trial, second: Trial) -> None:
    keep_answers(home, first, weights="of the base", adapter="a")
    ours = home.trial(second.id)
    assert not take_answered(home, ours, TASK, task_key(second), lambda: "of the base")
    assert take_answered(home, ours, TASK, task_key(second), lambda: "a")


# -- killed at any moment


def killed(work: Callable[[], object], moment: int) -> bool:
    """Do the work in a process that is killed just before its n-th change of the file system; whether it was."""
    child = os.fork()
    if child == 0:
        left = [moment]

        def hook(event: str, _: object) -> None:
            if event in {"os.rename", "os.mkdir", "os.remove", "os.rmdir"}:
                if not left[0]:
                    os.kill(os.getpid(), signal.SIGKILL)
                left[0] -= 1

        sys.addaudithook(hook)
        work()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def test_a_stage_that_is_kept_is_there_whole_or_not_at_all(home: Home, first: Trial) -> None:
    stage, folder, moment = home.stage("training", train_key(first)), trained(home, first), 0
    while killed(lambda: keep(home, folder, "training", train_key(first)), moment):
        assert {name for name in content(stage) if name in FILES} in ({*FILES}, set())
        # A trial that goes on finds the training under its key, or its own, which it keeps.
        if not take_trained(home, folder, train_key(first)):
            assert {*FILES} <= content(folder.trained).keys()
            keep(home, folder, "training", train_key(first))
        assert folder.keys() == {"training": train_key(first)}
        shutil.rmtree(stage.parent)
        shutil.rmtree(folder.path)
        trained(home, first)
        moment += 1
    assert moment >= 3


def test_a_stage_that_is_taken_is_listed_or_not(home: Home, first: Trial, second: Trial) -> None:
    stage, ours, moment = keep_training(home, first), trained(home, second, "ours"), 0
    before = content(stage)
    while killed(lambda: take_trained(home, ours, train_key(second)), moment):
        assert take_trained(home, ours, train_key(second))
        assert ours.trained == stage
        shutil.rmtree(ours.path)
        trained(home, second, "ours")
        moment += 1
    assert moment > 5
    assert content(stage) == before


# -- one works, the others wait


def never() -> bool:
    return False


def keys(*names: str) -> dict[str, str]:
    return {f"completions/{name}": name for name in names}


def test_a_stage_is_held_by_one_at_a_time(home: Home, until: Any) -> None:
    waiting, order = threading.Event(), []

    def second() -> None:
        with claim_stages(home, keys("b", "a"), never, waiting.set) as held:
            order.append(("second", held))

    other = threading.Thread(target=second)
    with claim_stages(home, keys("a"), never, lambda: None) as held:
        other.start()
        assert waiting.wait(20)
        order.append(("first", held))
    other.join(20)
    assert order == [("first", True), ("second", True)]


def test_who_is_stopped_while_waiting_does_not_hold_it(home: Home) -> None:
    with (
        claim_stages(home, keys("a"), never, lambda: None),
        claim_stages(home, keys("b", "a"), lambda: True, lambda: None) as held,
    ):
        assert not held
    with claim_stages(home, keys("a", "b"), never, lambda: None) as held:
        assert held


def test_nothing_to_hold_is_held(home: Home) -> None:
    with claim_stages(home, {}, never, lambda: None) as held:
        assert held


def test_two_that_want_the_same_stages_do_not_wait_for_each_other(home: Home) -> None:
    done: list[int] = []

    def want(names: list[str]) -> None:
        for _ in range(3):
            with claim_stages(home, keys(*names), never, lambda: None) as held:
                assert held
        done.append(1)

    threads = [threading.Thread(target=want, args=(names,)) for names in (["a", "b", "c"], ["c", "b", "a"], ["b", "a"])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(done) == 3

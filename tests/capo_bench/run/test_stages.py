"""A trial's stages in this process: stops between them, what is taken over, what a broken attempt leaves."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import trainers.backbones
from capo_bench.run import stages
from capo_bench.run.executor import Attempt
from capo_bench.run.training import Training
from capo_bench.store.home import Home, TrialFolder, read_json
from capo_bench.store.keyed import claim_stages
from capo_bench.study import identity
from capo_bench.study.identity import add_seed, hash_plain, hash_training, identify_trial, make_trial_id
from capo_bench.study.plan import Trial
from trainers import capo
from trainers.backbones import BACKBONES
from trainers.backbones.tiny import build_model, build_tokenizer, save
from trainers.config import TrialConfig

CHAT = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}{% endfor %}<|im_start|>assistant:"
TINY = BACKBONES.load("tiny")
SMALL: dict[str, Any] = {
    "backbone": "small",
    "cold_start": {"steps": 1, "problems_per_step": 8},
    "train": {"steps": 2, "prompts_per_step": 2, "group_size": 4, "max_completion_tokens": 12},
    "critic": {"name": "noisy"},
    "evaluation": {"tasks": ["coins_test", "coins_longer"], "problems": 4, "max_completion_tokens": 12},
}
LOCAL: dict[str, Any] = {"backbone": "local", "cold_start": None}


@pytest.fixture(autouse=True)
def backbones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of backbones, with a small embedded one: it trains and answers in this process."""
    torch.set_num_threads(1)
    folder = tmp_path / "backbones"
    folder.mkdir()
    (folder / "small.yaml").write_text("source: embedded\nwidth: 32\n")
    monkeypatch.setattr(trainers.backbones, "FOLDER", folder)
    identity._identify_backbone.cache_clear()
    return folder


@pytest.fixture
def local_backbone(tmp_path: Path, backbones: Path) -> Path:
    """A folder with the files of a hub repository, and a backbone's YAML that names it."""
    folder = tmp_path / "repository"
    tokenizer = build_tokenizer(["Ann has 3 coins. Ann finds 4. How many?\n3 + 4 = 7\n\n\\boxed{7}"] * 4)
    tokenizer.chat_template = CHAT
    save(build_model(TINY, tokenizer, seed=0), tokenizer, folder)
    (backbones / "local.yaml").write_text(f"source: hub\nmodel: {folder}\ntemplate: chat\n")
    return folder


def make_trial(seed: int = 0, **changes: Any) -> Trial:
    asked = {name: changes.pop(name) for name in ("tasks", "segmenter") if name in changes}
    config = TrialConfig.model_validate({**SMALL, **changes, "evaluation": {**SMALL["evaluation"], **asked}})
    parts = identify_trial(config)
    return Trial(make_trial_id(hash_plain(parts), seed), "v", seed, config, add_seed(parts, seed))


def run(trial: Trial, home: Home, stop: Any = lambda: False) -> tuple[bool, list[dict[str, Any]]]:
    events: list[dict[str, Any]] = []
    return stages.run_trial(trial, home, events.append, stop, Attempt()), events


def shown(events: list[dict[str, Any]]) -> list[str]:
    told = [event for event in events if event["kind"] == "stage" and event["stage"] != "cold start"]
    return [" ".join([event["stage"], *filter(None, [event.get("task")])]) for event in told]


def test_a_trial_goes_through_every_stage(tmp_path: Path) -> None:
    home, trial = Home(tmp_path / "home"), make_trial()
    done, events = run(trial, home)
    assert done
    tasks = ["coins_test", "coins_longer"]
    asked = [f"{stage} {task}" for stage in ("generate", "score") for task in tasks]
    assert shown(events) == ["train", *asked, "record"]
    assert {event["stage"] for event in events if event["kind"] == "stage"} < {*stages.STAGES}
    assert [event["step"] for event in events if event["kind"] == "step"] == [1, 2]
    folder = home.trial(trial.id)
    result = read_json(folder.metrics)
    assert {"coins_test/accuracy", "coins_longer/steps", "coins_test/tokens"} <= result["metrics"].keys()
    assert result["cost"]["critiques"] == 2 * 8 * 4
    assert result["cost"]["policy_tokens"] > 0
    assert read_json(folder.provenance)["fingerprints"]["cold_start"]
    assert not folder.checkpoints.exists()


def test_a_folder_of_weights_is_known_by_its_weights(local_backbone: Path) -> None:
    before = make_trial(**LOCAL).id
    identity._identify_backbone.cache_clear()
    assert make_trial(**LOCAL).id == before
    tokenizer = build_tokenizer(["Ann has 3 coins."])
    save(build_model(TINY, tokenizer, seed=1), tokenizer, local_backbone)
    identity._identify_backbone.cache_clear()
    assert make_trial(**LOCAL).id != before


def test_a_chat_backbone_reads_its_template_and_what_is_asked_of_it(local_backbone: Path) -> None:
    from transformers import AutoTokenizer

    from evals.coins import COINS
    from evals.models.prompt import INSTRUCTION, render

    (problem,) = COINS.problems("test", 1)
    text = render(problem.prompt, BACKBONES.load("local").template, AutoTokenizer.from_pretrained(local_backbone))
    assert text == f"<|im_start|>user\n{INSTRUCTION}{problem.prompt}<|im_start|>assistant:"


def test_a_critic_reads_the_problem_as_it_stands_not_in_the_policys_template(
    local_backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainers.critics.draws import DrawingCritic

    read: list[str] = []
    critique = DrawingCritic.critique

    async def listening(self: DrawingCritic, solutions: Any, k: int, *, greedy: bool = False) -> Any:
        read.extend(solution.problem.prompt for solution in solutions)
        return await critique(self, solutions, k, greedy=greedy)

    monkeypatch.setattr(DrawingCritic, "critique", listening)
    folder = TrialFolder(tmp_path / "trial")
    training = Training(make_trial(**LOCAL), folder, str(local_backbone), None, None, None, None, Attempt())
    assert capo.train(training.run(lambda record: None, lambda: False))
    assert len(read) == 2 * 8
    assert all(text.endswith("How many?\n") and "<|im_start|>" not in text for text in read)


def test_sft_measures_the_start_as_it_is(tmp_path: Path) -> None:
    home, trial = Home(tmp_path / "home"), make_trial(method="sft")
    assert run(trial, home)[0]
    folder = home.trial(trial.id)
    assert not folder.steps.exists()
    assert not folder.model.exists()
    assert read_json(folder.metrics)["cost"]["train_seconds"] == 0
    weights = read_json(folder.provenance)["fingerprints"]
    assert weights["start_weights"]
    assert weights["final_weights"] is None


def test_a_trial_stopped_in_training_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    home, whole = Home(tmp_path / "stopped"), Home(tmp_path / "whole")
    trial = make_trial()
    done, _ = run(trial, home, stop=lambda: True)
    folder = home.trial(trial.id)
    assert not done
    assert not folder.done
    point = read_json(folder.checkpoints / "resume.json")
    assert (point["checkpoint"], point["step"]) == ("checkpoint-1", 1)
    assert run(trial, home)[0]
    assert run(trial, whole)[0]
    assert read_json(folder.metrics)["metrics"] == read_json(whole.trial(trial.id).metrics)["metrics"]
    steps = [json.loads(line)["step"] for line in folder.steps.read_text().splitlines()]
    assert steps == [1, 2]


def test_a_trial_stopped_between_evaluations_does_not_train_again(tmp_path: Path) -> None:
    home, trial = Home(tmp_path / "home"), make_trial()
    folder = home.trial(trial.id)
    done, _ = run(trial, home, stop=(folder.path / "completions" / "coins_longer" / "task.json").exists)
    assert not done
    assert folder.model.exists()
    done, events = run(trial, home)
    assert done
    assert not [event for event in events if event["kind"] == "step"]


def test_another_set_of_tasks_asks_only_what_is_new(tmp_path: Path) -> None:
    home, first, second = Home(tmp_path / "home"), make_trial(tasks=["coins_test"]), make_trial()
    assert run(first, home)[0]
    done, events = run(second, home)
    assert done
    assert shown(events) == ["generate coins_longer", "score coins_test", "score coins_longer", "record"]
    ours, theirs = home.trial(second.id), home.trial(first.id)
    assert ours.steps == theirs.steps
    assert ours.samples("coins_test").read_bytes() == theirs.samples("coins_test").read_bytes()
    assert theirs.keys().items() < ours.keys().items()
    mine, paid = (read_json(folder.metrics)["cost"] for folder in (ours, theirs))
    for part in ("train_seconds", "policy_tokens", "critiques", "update_seconds"):  # as if it had trained alone
        assert mine[part] == paid[part] > 0
    assert mine["evaluate_seconds"] > 0
    assert mine["evaluate_cpu_seconds"] > 0
    assert mine["wall_seconds"] == mine["train_seconds"] + mine["evaluate_seconds"]


def test_fewer_tasks_and_another_way_to_score_ask_nothing(tmp_path: Path) -> None:
    home, whole = Home(tmp_path / "home"), make_trial()
    assert run(whole, home)[0]
    for changes in ({"tasks": ["coins_longer"]}, {"tasks": ["coins_longer"], "segmenter": "lines"}):
        less = make_trial(**changes)
        done, events = run(less, home)
        assert (done, shown(events)) == (True, ["score coins_longer", "record"])
        assert home.trial(less.id).keys().items() < home.trial(whole.id).keys().items()
    assert not [name for name in read_json(home.trial(less.id).metrics)["metrics"] if name.startswith("coins_test")]


def test_the_start_is_asked_once_for_all_that_measure_it_alike(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    first, second = (
        make_trial(method="sft", tasks=tasks) for tasks in (["coins_test"], ["coins_test", "coins_longer"])
    )
    assert run(first, home)[0]
    assert shown(run(second, home)[1]) == ["generate coins_longer", "score coins_test", "score coins_longer", "record"]
    assert home.trial(first.id).keys().items() < home.trial(second.id).keys().items()


def test_a_training_that_is_gone_is_done_again(tmp_path: Path) -> None:
    home, first, second = Home(tmp_path / "home"), make_trial(tasks=["coins_test"]), make_trial()
    assert run(first, home)[0]
    steps = home.trial(first.id).steps.read_bytes()
    shutil.rmtree(home.trial(first.id).model)
    done, events = run(second, home)
    assert done
    assert shown(events)[0] == "train"
    assert home.trial(first.id).steps.read_bytes() == steps
    # The same weights: what the first was asked is taken over even so.
    assert "generate coins_test" not in shown(events)
    assert home.trial(second.id).keys().keys() == {"completions/coins_test", "completions/coins_longer"}


def test_an_evaluation_of_a_model_that_is_no_more_is_dropped(tmp_path: Path) -> None:
    home, trial = Home(tmp_path / "home"), make_trial()
    folder = home.trial(trial.id)
    assert not run(trial, home, stop=(folder.path / "completions" / "coins_longer" / "task.json").exists)[0]
    shutil.rmtree(folder.model)
    _, events = run(trial, home)
    assert shown(events)[:3] == ["train", "generate coins_test", "generate coins_longer"]


def test_a_stop_before_scoring_keeps_what_was_asked(tmp_path: Path) -> None:
    home, trial = Home(tmp_path / "home"), make_trial()
    folder = home.trial(trial.id)

    def asked() -> bool:
        return (folder.completions("coins_longer") / "SHA256SUMS").exists()

    assert not run(trial, home, stop=asked)[0]
    assert not folder.done
    assert shown(run(trial, home)[1]) == ["score coins_test", "score coins_longer", "record"]


def test_who_waits_for_a_training_and_is_stopped_has_begun_nothing(tmp_path: Path) -> None:
    home, trial = Home(tmp_path / "home"), make_trial()
    with claim_stages(home, {"training": hash_training(trial.identity, 0)}, lambda: False, lambda: None):
        done, events = run(trial, home, stop=lambda: True)
    assert (done, shown(events)) == (False, ["waiting"])
    assert {path.name for path in home.trial(trial.id).path.iterdir()} == {"config.json"}


def test_it_is_told_how_a_trial_was_tried(tmp_path: Path) -> None:
    home, trial = Home(tmp_path / "home"), make_trial(method="sft")
    assert stages.run_trial(trial, home, lambda _: None, lambda: False, Attempt(number=3))
    assert read_json(home.trial(trial.id).provenance)["attempt"] == {"number": 3, "micro_batch": None}


def test_records_of_an_attempt_without_a_checkpoint_are_dropped(tmp_path: Path) -> None:
    home, trial = Home(tmp_path / "home"), make_trial()
    folder = home.trial(trial.id)
    (folder.checkpoints / "checkpoint-1").mkdir(parents=True)  # torn: nothing names it
    folder.steps.write_text('{"step": 1, "seconds": 9}\n{"step": 2, "sec')
    assert run(trial, home)[0]
    records = [json.loads(line) for line in folder.steps.read_text().splitlines()]
    assert [record["step"] for record in records] == [1, 2]
    assert records[0]["seconds"] != 9

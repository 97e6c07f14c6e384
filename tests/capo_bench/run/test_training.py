"""The training stage in this process: what a try leaves, what the next makes of it, and what is told on the way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from capo_bench.run import training as training_module
from capo_bench.run.executor import Attempt
from capo_bench.run.shared_models import ensure_cold_start
from capo_bench.run.training import Training, read_steps, settle, train, train_part
from capo_bench.store.home import Home, TrialFolder, read_json
from capo_bench.study.identity import add_seed, hash_plain, identify_trial, make_trial_id
from capo_bench.study.plan import Trial
from trainers.config import TrialConfig

SMALL: dict[str, Any] = {
    "cold_start": {"steps": 4, "problems_per_step": 8},
    "train": {"steps": 3, "prompts_per_step": 2, "group_size": 4, "max_completion_tokens": 12},
    "critic": {"name": "noisy"},
    "credit": {"critiques": 2},
}
EVERY_STEP = Attempt(checkpoint_seconds=0)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """One for all, whose trials share a cold start: each test has trials of its own seed."""
    return Home(tmp_path_factory.mktemp("home"))


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def make_trial(seed: int, **changes: Any) -> Trial:
    config = TrialConfig.model_validate({**SMALL, **changes})
    parts = identify_trial(config)
    return Trial(make_trial_id(hash_plain(parts), seed), "v", seed, config, add_seed(parts, seed))


class Killed(BaseException):
    """Ends a try where it stands, as nothing in the program expects."""


def run(trial: Trial, home: Home, attempt: Attempt = EVERY_STEP, stop_after: int = 99, kill_at: int = 99) -> list[Any]:
    """Train, and return what was told; stopped after so many steps of this try, or killed when a step is told of."""
    told: list[Any] = []
    asked: list[None] = []
    start = str(ensure_cold_start(trial, home, lambda message: None))

    def emit(message: dict[str, Any]) -> None:
        told.append(message.get("step", message.get("stage")))
        if message.get("step") == kill_at:
            raise Killed

    def stop() -> bool:
        asked.append(None)
        return len(asked) == stop_after

    finished = train(trial, home, start, emit, stop, attempt)
    assert finished == (stop_after == 99)
    return told


def killed(trial: Trial, home: Home, at: int, attempt: Attempt = EVERY_STEP) -> TrialFolder:
    with pytest.raises(Killed):
        run(trial, home, attempt, kill_at=at)
    return home.trial(trial.id)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_finished_training_leaves_the_model_and_its_steps(home: Home) -> None:
    trial = make_trial(0)
    assert run(trial, home) == ["train", 1, 2, 3]
    folder = home.trial(trial.id)
    assert names(folder.trained) == ["checkpoints", "model", "rollouts", "steps.jsonl", "steps.sums", "training.json"]
    settle(folder)
    assert names(folder.trained) == ["model", "rollouts", "steps.jsonl", "training.json"]
    assert [step["step"] for step in read_steps(folder)] == [1, 2, 3]
    assert len(names(folder.rollouts)) == 3


def test_a_killed_try_leaves_a_record_of_no_step_after_its_checkpoint(home: Home) -> None:
    trial = make_trial(1)
    folder = killed(trial, home, at=3)
    assert [step["step"] for step in read_steps(folder)] == [1, 2, 3]
    assert read_json(folder.checkpoints / "resume.json")["step"] == 2
    seconds = [step["seconds"] for step in read_steps(folder)]
    assert run(trial, home) == ["train", 3]
    assert [step["step"] for step in read_steps(folder)] == [1, 2, 3]
    assert [step["seconds"] for step in read_steps(folder)[:2]] == seconds[:2]
    assert read_steps(folder)[2]["seconds"] != seconds[2]


def test_without_a_checkpoint_training_starts_from_nothing(home: Home) -> None:
    trial = make_trial(2)
    folder = killed(trial, home, at=2, attempt=Attempt(checkpoint_seconds=3600))
    (folder.checkpoints / "checkpoint-2").mkdir(parents=True)  # cut short: nothing names it
    with folder.steps.open("a") as steps:
        steps.write('{"step": 3, "sec')
    assert run(trial, home) == ["train", 1, 2, 3]
    assert [step["step"] for step in read_steps(folder)] == [1, 2, 3]
    assert len(names(folder.rollouts)) == 3


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.pt", "trainer_state.json", "rng_state.pth"])
def test_a_damaged_checkpoint_is_found_before_training_goes_on(
    home: Home, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    trial = make_trial(10 + len(name))
    assert run(trial, home, stop_after=2) == ["train", 1, 2]
    path = home.trial(trial.id).checkpoints / "checkpoint-2" / name
    path.write_bytes(path.read_bytes()[:-1])
    assert run(trial, home) == ["train", 1, 2, 3]
    assert f"checkpoint-2 is damaged ({name} not as it was written): training starts from nothing" in caplog.text


def test_a_checkpoint_deleted_by_hand_is_done_without(home: Home) -> None:
    trial = make_trial(3)
    run(trial, home, stop_after=1)
    (mark,) = home.trial(trial.id).checkpoints.glob("resume.json")
    mark.unlink()
    assert run(trial, home) == ["train", 1, 2, 3]


def test_the_micro_batches_of_all_tries_are_written_down(home: Home) -> None:
    trial = make_trial(4)
    folder = home.trial(trial.id)
    run(trial, home, stop_after=1)
    assert read_json(folder.training) == {"micro_batch": None, "micro_batches": [{"after": 0, "micro_batch": None}]}
    halved = Attempt(number=2, micro_batch=4, checkpoint_seconds=0)
    run(trial, home, halved, stop_after=1)
    run(trial, home, halved)
    assert read_json(folder.training) == {
        "micro_batch": 4,
        "micro_batches": [{"after": 0, "micro_batch": None}, {"after": 1, "micro_batch": 4}],
    }


def test_a_micro_batch_that_nothing_was_trained_with_is_not_written_down(home: Home) -> None:
    """Out of memory before the first checkpoint, and again after it."""
    trial = make_trial(5)
    folder = killed(trial, home, at=1)
    killed(trial, home, at=2, attempt=Attempt(micro_batch=4, checkpoint_seconds=0))
    killed(trial, home, at=2, attempt=Attempt(micro_batch=2, checkpoint_seconds=0))
    run(trial, home, Attempt(micro_batch=1, checkpoint_seconds=0))
    assert read_json(folder.training) == {
        "micro_batch": 1,
        "micro_batches": [{"after": 0, "micro_batch": 4}, {"after": 1, "micro_batch": 1}],
    }


def test_the_trials_own_micro_batch_is_told_where_the_try_has_none(home: Home) -> None:
    trial = make_trial(6, train={**SMALL["train"], "steps": 1, "micro_batch": 2})
    run(trial, home)
    assert read_json(home.trial(trial.id).training)["micro_batch"] == 2


def test_an_evaluation_of_a_model_that_is_no_more_goes(home: Home) -> None:
    trial = make_trial(7)
    folder = home.trial(trial.id)
    for path in (folder.evaluation, folder.completions("coins_test")):
        path.mkdir(parents=True)
    run(trial, home)
    assert not folder.evaluation.exists()
    assert not folder.completions("coins_test").exists()


def test_what_a_process_is_told_is_what_the_method_is_given(tmp_path: Path) -> None:
    trial = make_trial(8)
    attempt = Attempt(number=2, micro_batch=4, checkpoint_seconds=7)
    training = Training(
        trial, TrialFolder(tmp_path), "start", tmp_path / "critic", tmp_path / "prm", None, "checkpoint-3", attempt
    )
    run = training.run(record=lambda record: None, stop=lambda: False)
    assert (run.config, run.seed, run.start, run.resume) == (trial.config, 8, "start", "checkpoint-3")
    assert (run.out, run.rollouts) == (tmp_path / "training" / "checkpoints", tmp_path / "training" / "rollouts")
    assert run.model != tmp_path / "training" / "model"  # which appears at once
    assert (run.micro_batch, run.checkpoint_seconds) == (4, 7)
    assert (run.critic, run.prm, run.critique_cache) == (tmp_path / "critic", tmp_path / "prm", None)


def test_records_are_plain_json_a_line_a_step(home: Home) -> None:
    trial = make_trial(9)
    run(trial, home)
    lines = home.trial(trial.id).steps.read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3]
    assert all(isinstance(value, int | float) for line in lines for value in json.loads(line).values())


def test_a_process_that_trains_uses_its_own_gpu_before_anything_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    monkeypatch.setenv("LOCAL_RANK", "3")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", told.append)
    monkeypatch.setattr(training_module, "_train_here", lambda training, rank, *_: told.append(rank) or True)
    training = Training(make_trial(9), TrialFolder(tmp_path), "start", None, None, None, None, Attempt())
    assert train_part(training.as_json(), 3, lambda event: None, lambda: False)
    assert told == [3, 3]

"""Checkpoints while a policy trains: when, what they hold, and that a run goes on from any of them as if unbroken."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from transformers import TrainerControl, TrainerState, TrainingArguments

from trainers import capo, grpo_rule
from trainers.callbacks import Saver
from trainers.checkpoints import MARK, find_newest
from trainers.run import TrainRun

STEPS = {"steps": 4, "prompts_per_step": 2, "group_size": 4, "max_completion_tokens": 40}
CLOCKS = ("seconds", "cpu_seconds", "critic_wait")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def timeless(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in record.items() if not name.startswith(CLOCKS)} for record in records]


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def keep_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the checkpoints that would go when a newer one is marked."""
    monkeypatch.setattr("trainers.checkpoints._drop_others", lambda folder, kept: None)


def saver(every: float = math.inf, stop: bool = False, others: bool = False) -> tuple[Saver, list[int]]:
    saved: list[int] = []
    return Saver(3, every, lambda: stop, lambda wish: wish or others, saved.append), saved


def after_step(saver: Saver, step: int, arguments: TrainingArguments) -> TrainerControl:
    control = TrainerControl()
    saver.on_log(arguments, TrainerState(global_step=step), control, logs={"loss": 0.0})
    return control


@pytest.fixture
def arguments(tmp_path: Path) -> TrainingArguments:
    return TrainingArguments(output_dir=str(tmp_path), use_cpu=True)


def test_a_stop_saves_and_ends_training(arguments: TrainingArguments) -> None:
    asked, _ = saver(stop=True)
    control = after_step(asked, 2, arguments)
    assert asked.stopped
    assert control.should_save
    assert control.should_training_stop


def test_a_stop_that_another_process_wants_is_a_stop(arguments: TrainingArguments) -> None:
    asked, _ = saver(others=True)
    assert after_step(asked, 1, arguments).should_training_stop
    assert asked.stopped


def test_after_the_last_step_there_is_nothing_to_stop_and_nothing_to_save(arguments: TrainingArguments) -> None:
    asked, _ = saver(every=0, stop=True)
    control = after_step(asked, 3, arguments)
    assert not asked.stopped
    assert not control.should_save
    assert not control.should_training_stop


def test_the_clock_starts_with_training_and_again_with_each_checkpoint(
    arguments: TrainingArguments, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    asked, saved = saver(every=10)
    now = 1000.0  # the model was loaded
    asked.on_train_begin(arguments, TrainerState(), TrainerControl())
    now = 1009.9
    assert not after_step(asked, 1, arguments).should_save
    now = 1010.0
    control = after_step(asked, 2, arguments)
    assert control.should_save
    assert not control.should_training_stop
    now = 1030.0  # saving takes time, too
    asked.on_save(arguments, TrainerState(global_step=2), TrainerControl())
    assert saved == [2]
    now = 1039.0
    assert not after_step(asked, 2, arguments).should_save


def test_a_run_without_a_clock_saves_nothing(make_run: Any) -> None:
    run, _ = make_run()
    assert capo.train(run)
    assert not list(run.out.glob("checkpoint-*"))


@pytest.mark.parametrize(
    "settings",
    [{"critic": {"name": "noisy"}}, pytest.param({"train": {**STEPS, "kl": 0.05}}, marks=pytest.mark.nightly)],
)
def test_from_any_checkpoint_a_run_goes_on_as_if_it_had_not_been_broken(
    make_run: Any, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    """With the schedule and the optimizer in the middle of their work, and with the reference of the KL term."""
    keep_all(monkeypatch)
    changes = {"train": {**STEPS, "schedule": "cosine"}, **settings}
    whole, records = make_run(name="whole", **changes)
    assert capo.train(replace(whole, checkpoint_seconds=0))
    assert sorted(path.name for path in whole.out.glob("checkpoint-*")) == [f"checkpoint-{n}" for n in (1, 2, 3)]
    unsaved, unsaved_records = make_run(name="unsaved", **changes)
    assert capo.train(unsaved)
    assert weights(unsaved.model) == weights(whole.model)  # to save draws no random number
    assert timeless(unsaved_records) == timeless(records)
    for step in (1, 3):
        resumed, later = make_run(name=f"from-{step}", **changes)
        assert capo.train(replace(resumed, resume=str(whole.out / f"checkpoint-{step}")))
        assert timeless(later) == timeless(records[step:])
        assert weights(resumed.model) == weights(whole.model)
        for kept in resumed.rollouts.iterdir():
            assert kept.read_bytes() == (whole.rollouts / kept.name).read_bytes()


def test_the_newest_checkpoint_is_the_only_one_and_holds_everything(make_run: Any) -> None:
    run, records = make_run(train=STEPS)
    asked: list[int] = []
    stopped = replace(run, checkpoint_seconds=0, stop=lambda: bool(asked.append(1)) or len(asked) == 3)
    assert not capo.train(stopped)
    (folder,) = run.out.glob("checkpoint-*")
    names = {path.name for path in folder.iterdir()}
    assert {"model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"} <= names
    found = find_newest(run.out)
    assert found is not None
    assert (found.path, found.step) == (folder, 3)
    state = json.loads((folder / "trainer_state.json").read_text())
    assert state["global_step"] == 3
    assert state["num_input_tokens_seen"] > sum(record["policy_tokens"] for record in records)  # and the prompts


def test_a_checkpoint_is_read_without_unpickling(make_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Someone who can write to the results folder can break a run, but not have it execute what they wrote."""
    run, _ = make_run(train=STEPS)
    assert not grpo_rule.train(replace(run, stop=lambda: True))
    (run.out / "checkpoint-1" / "training_args.bin").write_bytes(b"never read")
    ways: list[Any] = []
    load = torch.load

    def listening(*args: Any, **kwargs: Any) -> Any:
        ways.append(kwargs.get("weights_only"))
        return load(*args, **kwargs)

    monkeypatch.setattr(torch, "load", listening)
    assert grpo_rule.train(replace(run, resume=str(run.out / "checkpoint-1")))
    assert len(ways) == 3  # optimizer, scheduler, random numbers
    assert all(ways)


def loaded(run: TrainRun) -> dict[str, Any]:
    return load_file(run.model / "model.safetensors")


def close(one: TrainRun, other: TrainRun) -> None:
    ours, theirs = loaded(one), loaded(other)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        np.testing.assert_allclose(value, theirs[name], atol=1e-5, err_msg=name)


def test_a_smaller_micro_batch_gives_the_same_update_but_for_rounding(make_run: Any) -> None:
    changes = {"train": {**STEPS, "steps": 2, "learning_rate": 1e-5}, "critic": {"name": "noisy"}}
    whole, whole_records = make_run(name="whole", **changes)
    parts, parts_records = make_run(name="parts", **changes)
    assert capo.train(whole)
    assert capo.train(replace(parts, micro_batch=2))
    for ours, theirs in zip(whole_records, parts_records, strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], abs=1e-5)
        assert ours["grad_norm"] == pytest.approx(theirs["grad_norm"], rel=1e-4)
        assert ours["outcome"] == theirs["outcome"]
    close(whole, parts)


def test_a_run_goes_on_with_a_smaller_micro_batch_than_its_checkpoint_was_made_with(make_run: Any) -> None:
    changes = {"train": {**STEPS, "learning_rate": 1e-5}, "critic": {"name": "noisy"}}
    whole, whole_records = make_run(name="whole", **changes)
    assert capo.train(whole)
    broken, records = make_run(name="broken", **changes)
    asked: list[int] = []
    assert not capo.train(replace(broken, stop=lambda: bool(asked.append(1)) or len(asked) == 2))
    assert capo.train(replace(broken, resume=str(broken.out / "checkpoint-2"), micro_batch=4))
    assert [record["step"] for record in records] == [1, 2, 3, 4]
    assert records[2]["outcome"] == whole_records[2]["outcome"]
    assert records[2]["loss"] == pytest.approx(whole_records[2]["loss"], abs=1e-5)
    close(whole, broken)


def test_a_micro_batch_that_does_not_divide_the_step_is_refused(make_run: Any) -> None:
    run, _ = make_run()
    with pytest.raises(ValueError, match=r"8 rollouts a step do not divide among 1 processes in micro-batches of 3"):
        capo.train(replace(run, micro_batch=3))


def test_a_mark_is_of_a_whole_checkpoint(make_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed while it is saved, before the mark: the older one is still there, and named."""
    run, _ = make_run(train=STEPS)
    marked = []

    def killed(folder: Path, updates: int, step: int) -> None:
        if step == 2:
            raise KeyboardInterrupt
        from trainers.checkpoints import mark

        marked.append(step)
        mark(folder, updates, step)

    monkeypatch.setattr("trainers.policy.mark", killed)
    with pytest.raises(KeyboardInterrupt):
        capo.train(replace(run, checkpoint_seconds=0))
    assert (run.out / "checkpoint-2").exists()
    found = find_newest(run.out)
    assert found is not None
    assert found.step == 1
    assert not (run.out / "checkpoint-2").exists()
    shutil.rmtree(run.out / "checkpoint-1")
    assert find_newest(run.out) is None
    assert (run.out / MARK).exists()

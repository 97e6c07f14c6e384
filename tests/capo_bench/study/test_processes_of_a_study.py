"""A step's rollouts divide among the processes that train a backbone, or the study is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from capo_bench.study.errors import StudyError
from capo_bench.study.plan import Plan
from trainers.backbones import OWN_FOLDER

Many = Callable[..., list[StudyError]]


@pytest.fixture
def trio(tmp_path: Path, demo: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A study of a backbone that three processes train."""
    folder = tmp_path / "backbones"
    folder.mkdir()
    (folder / "trio.yaml").write_text("source: embedded\nprocesses: 3\n")
    monkeypatch.setenv(OWN_FOLDER, str(folder))
    return demo.replace("base:\n", "base:\n  backbone: trio\n  train: {prompts_per_step: 8, group_size: 16}\n")


def test_rollouts_that_do_not_divide_are_told_with_the_line(errors: Many, trio: str) -> None:
    assert str(errors(trio)[0]) == (
        "study.yaml:6: variant 'vote=union': backbone 'trio' is trained by 3 processes, and 128 rollouts a step do not "
        "divide among 3 processes; set prompts_per_step × group_size to a multiple of 3"
    )


def test_micro_batches_count_in_every_process(plan: Callable[..., Plan], errors: Many, trio: str) -> None:
    small = trio.replace("prompts_per_step: 8, group_size: 16", "prompts_per_step: 6, group_size: 2, micro_batch: {}")
    assert plan(small.replace("{}", "4")).trials
    told = str(errors(small.replace("{}", "6"))[0])
    assert "12 rollouts a step do not divide among 3 processes in micro-batches of 6; " in told
    assert told.endswith("to a multiple of 18")


def test_a_method_that_does_not_train_has_no_rollouts(plan: Callable[..., Plan], trio: str) -> None:
    sweep = "matrix:\n  credit.vote: [union, majority]\n"
    only = trio.replace("method: capo", "method: sft").replace(sweep, "include: [{name: vote=union, set: {}}]\n")
    assert plan(only).trials

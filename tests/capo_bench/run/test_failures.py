"""Causes of failures, what is tried again and how, and the advice where memory ran out."""

import errno
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standins import make_plan

from capo_bench.run.executor import Attempt, Job
from capo_bench.run.failures import advise, find_cause, halve, plan_retry
from capo_bench.run.runner import RunOptions
from capo_bench.store.home import Home
from trainers.criticised import CriticFailingError


def raised(error, cause):
    error.__cause__ = cause
    return error


class OutOfMemoryError(RuntimeError):
    """Named as torch's."""


class APIConnectionError(Exception):
    """Named as the SDK's."""


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (MemoryError(), "memory"),
        (OutOfMemoryError("CUDA"), "memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried …"), "memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "memory"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "disk"),
        (ConnectionRefusedError(), "endpoint"),
        (APIConnectionError("no route"), "endpoint"),
        (CriticFailingError("all timed out", unreachable=True), "endpoint"),
        (CriticFailingError("no list in any", unreachable=False), "other"),
        (PermissionError(), "other"),
        (ValueError("the reward is not a number"), "other"),
        (raised(RuntimeError("step 3 failed"), MemoryError()), "memory"),
    ],
)
def test_causes(error, cause):
    assert find_cause(error) == cause


def test_errors_that_blame_each_other_end():
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert find_cause(first) == "other"


def job(tmp_path, number=1, micro_batch=None, **train):
    plan = make_plan(["ok"])
    config = plan.trials[0].config
    config = config.model_copy(update={"train": config.train.model_copy(update=train)})
    trial = type(plan.trials[0])(**{**vars(plan.trials[0]), "config": config})
    home = Home(tmp_path)
    return Job(
        "trial", "a:b", trial, home.path, home.path, home.path, attempt=Attempt(number=number, micro_batch=micro_batch)
    )


def test_memory_names_the_setting_and_a_value_that_divides_the_rollouts(tmp_path):
    config = job(tmp_path, prompts_per_step=6, group_size=16).trial.config
    told = advise("memory", "train", config)
    assert "train.micro_batch is 96 of 96 rollouts; set it to 48 or less" in told
    assert "train.micro_batch is 48 of 96 rollouts; set it to 24" in advise("memory", "train", config, 48)
    assert "evaluation.batch_size is" in advise("memory", "generate", config)
    assert "free space" in advise("disk", "score", config)
    assert not advise("other", "train", config)


@given(rollouts=st.integers(1, 512), size=st.integers(1, 512))
def test_half_divides_and_is_at_most_half_and_nothing_larger_would_do(rollouts, size):
    found = halve(rollouts, size)
    fitting = [n for n in range(1, size // 2 + 1) if rollouts % n == 0]
    assert found == max(fitting, default=None)


def test_a_lost_process_is_tried_again_as_it_was_until_the_tries_are_used_up(tmp_path):
    first = job(tmp_path)
    second, delay = plan_retry(first, {"cause": "lost"}, RunOptions(retries=2))
    assert (second.attempt.number, second.attempt.micro_batch, delay) == (2, None, 0)
    third, _ = plan_retry(second, {"cause": "lost"}, RunOptions(retries=2))
    assert plan_retry(third, {"cause": "lost"}, RunOptions(retries=2)) is None
    assert plan_retry(first, {"cause": "lost"}, RunOptions(retries=0)) is None


def test_out_of_memory_halves_the_micro_batch_down_to_one(tmp_path):
    pending, sizes = job(tmp_path, prompts_per_step=3, group_size=4), []
    while found := plan_retry(pending, {"cause": "memory", "stage": "train"}, RunOptions(retries=9)):
        pending = found[0]
        sizes.append(pending.attempt.micro_batch)
    assert sizes == [6, 3, 1]


def test_of_several_processes_each_has_its_share_of_the_rollouts(tmp_path, monkeypatch):
    (tmp_path / "pair.yaml").write_text("source: embedded\nprocesses: 2\n")
    monkeypatch.setenv("CAPO_BENCH_BACKBONES", str(tmp_path))
    pending = job(tmp_path, prompts_per_step=3, group_size=4)
    config = pending.trial.config.model_copy(update={"backbone": "pair"})
    pending = replace(pending, trial=replace(pending.trial, config=config))
    assert "train.micro_batch is 6 of 6 rollouts; set it to 3" in advise("memory", "train", config)
    found = plan_retry(pending, {"cause": "memory", "stage": "train"}, RunOptions())
    assert found[0].attempt.micro_batch == 3


def test_out_of_memory_elsewhere_is_for_the_user(tmp_path):
    assert plan_retry(job(tmp_path), {"cause": "memory", "stage": "generate"}, RunOptions()) is None


def test_an_endpoint_is_left_alone_longer_each_time(tmp_path):
    options = RunOptions(retries=3, retry_seconds=2)
    for number, least in ((1, 2), (2, 10), (3, 50)):
        _, delay = plan_retry(job(tmp_path, number), {"cause": "endpoint"}, options)
        assert least <= delay <= 1.25 * least


@pytest.mark.parametrize("cause", ["other", "disk", "timeout", "grace", None])
def test_what_would_fail_again_is_not_tried_again(tmp_path, cause):
    assert plan_retry(job(tmp_path), {"cause": cause}, RunOptions()) is None

"""Rollouts end where the model's turn ends, and follow the study's sampling in all else that its files recommend."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from trainers import grpo_rule
from trainers.backbones.tiny import END
from trainers.rollouts import read_rollouts

TRAIN = {"steps": 1, "prompts_per_step": 2, "group_size": 8, "max_completion_tokens": 40}


@pytest.fixture
def sampled(make_run, tmp_path):
    """Train one step from a folder; return its rollouts' texts."""

    def train(folder):
        run, _ = make_run(method="grpo_rule", train=TRAIN)
        run = replace(run, start=str(folder), rollouts=tmp_path / f"rollouts-{Path(folder).name}")
        assert grpo_rule.train(run)
        return [rollout.text for step in read_rollouts(run.rollouts) for rollout in step.rollouts]

    return train


def recommending(start, target, **settings):
    shutil.copytree(start, target)
    path = target / "generation_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))
    return target


def test_what_a_repository_recommends_changes_no_rollout_and_is_named(sampled, start, tmp_path, caplog):
    biased = recommending(
        start, tmp_path / "biased",
        min_p=0.3, typical_p=0.2, no_repeat_ngram_size=2, min_new_tokens=30, epsilon_cutoff=0.01, max_time=0.001,
    )  # fmt: skip
    with caplog.at_level(logging.WARNING):
        plain = sampled(start)
        assert sampled(biased) == plain
    [warning] = [record.message for record in caplog.records if "generation_config.json sets" in record.message]
    assert "min_p" in warning
    assert "rollouts follow the study's sampling alone" in warning


def test_a_rollout_ends_with_any_token_that_ends_a_turn(sampled, start, tmp_path):
    blank = AutoTokenizer.from_pretrained(start).encode("\n\n", add_special_tokens=False)
    assert len(blank) == 1
    texts = sampled(recommending(start, tmp_path / "short", eos_token_id=blank))
    assert all("\n\n" not in text.removesuffix("\n\n") for text in texts)
    assert any("\n\n" in text for text in sampled(start))
    assert END not in "".join(texts)

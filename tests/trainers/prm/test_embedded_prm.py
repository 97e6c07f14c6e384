"""What the embedded model is taught is what the checker says, where the scorer reads; it survives being saved."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tinyprms import SHORT
from transformers import AutoModelForTokenClassification, AutoTokenizer

from evals.coins.problems import read
from evals.coins.solutions import check
from trainers.prm.config import EmbeddedPrmConfig, PrmConfig
from trainers.prm.embedded import UNLABELLED, compute_lesson_loss, draw_lessons, label_lesson, train_prm
from trainers.prm.reading import Reader
from trainers.prm.scorer import Scorer


@given(st.integers(0, 2**32), st.floats(0, 0.5), st.floats(0, 0.5))
def test_a_lesson_is_the_checkers_word(seed: int, slip: float, stray: float) -> None:
    config = EmbeddedPrmConfig(steps=1, problems_per_step=4, seed=seed, slip=slip, stray=stray)
    for problem, steps, wrong in draw_lessons(config):
        assert wrong == check(read(problem), steps).wrong


def test_labels_stand_where_the_scorer_reads_and_nowhere_else(taught_prm: Path) -> None:
    reader = Reader(AutoTokenizer.from_pretrained(taught_prm), "trl")
    steps = ["3 + 4 = 8", "\\boxed{8}"]
    row = label_lesson(reader, ("Ann has 3 coins. Ann finds 4. How many?\n", steps, frozenset({0})))
    reading = reader.read("Ann has 3 coins. Ann finds 4. How many?\n", steps)
    assert row["input_ids"] == reading.ids
    told = {place: label for place, label in enumerate(row["labels"]) if label != UNLABELLED}
    assert told == {reading.ends[0]: 0, reading.ends[1]: 1}


def test_the_loss_is_that_of_labels_and_of_the_next_token(taught_prm: Path) -> None:
    model = AutoModelForTokenClassification.from_pretrained(taught_prm).eval()
    with torch.no_grad():
        model.score.weight.zero_()
        model.score.bias.zero_()
        model.model.norm.weight.zero_()  # and nothing is foreseen
    ids = torch.tensor([[5, 6, 7, 0], [5, 6, 7, 8]])
    inputs = {
        "input_ids": ids,
        "attention_mask": torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]]),
        "labels": torch.tensor([[-100, -100, 1, -100], [-100, 0, -100, 1]]),
    }
    expected = math.log(2) + math.log(model.config.vocab_size)
    assert compute_lesson_loss(model, inputs).item() == pytest.approx(expected, rel=1e-5)
    padded = {**inputs, "input_ids": torch.tensor([[5, 6, 7, 9], [5, 6, 7, 8]])}
    assert compute_lesson_loss(model, padded).item() == pytest.approx(expected, rel=1e-5)


def test_the_model_comes_back_as_a_token_classifier(taught_prm: Path) -> None:
    model = AutoModelForTokenClassification.from_pretrained(taught_prm)
    assert model.config.id2label == {0: "wrong", 1: "right"}
    scorer = Scorer(PrmConfig(), str(taught_prm))
    assert scorer.parameters == sum(weight.numel() for weight in model.parameters())
    for problem, steps, _ in draw_lessons(SHORT):
        (scored,) = scorer.score([(problem, steps)])
        assert scored.scores is not None
        assert len(scored.scores) == len(steps)
        assert all(0 < score < 1 for score in scored.scores)


def test_every_step_of_the_lesson_is_told_of(tmp_path: Path) -> None:
    records: list[tuple[int, int]] = []
    train_prm(SHORT, tmp_path, lambda record: records.append((record["step"], record["of"])))
    assert records == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_two_lessons_alike_make_the_same_model(taught_prm: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    train_prm(SHORT, tmp_path, lambda record: None)
    assert (tmp_path / "model.safetensors").read_bytes() == (taught_prm / "model.safetensors").read_bytes()


@pytest.mark.nightly
def test_it_learns(tmp_path: Path) -> None:
    """From nothing towards the share of right steps and the words of a problem: not its skill, which takes minutes."""
    losses: list[float] = []
    train_prm(EmbeddedPrmConfig(steps=20, problems_per_step=8), tmp_path, lambda record: losses.append(record["loss"]))
    assert losses[-1] < 0.75 * losses[0]

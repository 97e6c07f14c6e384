"""The stages around a real model: the embedded one, in Transformers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from dicemodel import generate
from tinymodel import save_model

from evals.harness.results import read_result
from evals.harness.score import score
from evals.harness.tasks import load_tasks
from evals.models.open import open_model
from evals.models.spec import ModelSpec
from evals.verify import Verifier

FILES = ("generations.jsonl", "samples.jsonl")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def task():
    (task,) = load_tasks(["coins_test"], limit=10)
    return replace(task, samples=3)


def opened(model):
    return open_model(ModelSpec(model=model, batch_size=9))


def scored(folder):
    with Verifier() as verifier:
        score(folder, verifier=verifier, cut=lambda text: text.split("\n\n"), segmenter="blank_lines")
    return read_result(folder)


@pytest.fixture(scope="module")
def whole(model, task, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    assert generate(task, opened(model), folder, seed=1) is True
    scored(folder)
    return folder


def test_stopped_after_every_batch_it_ends_with_the_same_bytes(model, task, whole, tmp_path):
    finished, runs = False, 0
    while not finished:
        turns = iter([False, True])
        finished = generate(task, opened(model), tmp_path, seed=1, stop=lambda: next(turns))  # noqa: B023
        runs += 1
    assert runs == 6  # ten greedy answers in batches of nine, then ten times three samples
    scored(tmp_path)
    assert all((tmp_path / name).read_bytes() == (whole / name).read_bytes() for name in FILES)


def test_cut_anywhere_it_ends_with_the_same_bytes(model, task, whole, tmp_path):
    data, backend = (whole / "generations.jsonl").read_bytes(), opened(model)
    for part in (0.1, 0.35, 0.99):
        folder = tmp_path / str(part)
        folder.mkdir()
        (folder / "task.json").write_bytes((whole / "task.json").read_bytes())
        (folder / "generations.jsonl").write_bytes(data[: int(len(data) * part)])
        generate(task, backend, folder, seed=1)
        assert (folder / "generations.jsonl").read_bytes() == data


def test_the_result_counts_every_completion(whole):
    result = read_result(whole)
    assert sum(result.counts.values()) == result.cost["samples"] == 40
    assert result.cost["problems"] == result.metrics["accuracy"].n == 10
    tokens = 10 * result.metrics["tokens"].value + 30 * result.metrics["sampled_tokens"].value
    assert result.cost["policy_tokens"] == pytest.approx(tokens)
    assert result.identity["model"]["template"] == "bare"


def test_the_weights_are_part_of_the_identity(task, whole, tmp_path):
    from evals.harness.identity import EvaluationError, explain_incomparable

    other = opened(save_model(tmp_path / "other", seed=1))
    with pytest.raises(EvaluationError, match=r"model\.weights"):
        generate(task, other, whole, seed=1)
    generate(task, other, tmp_path / "coins_test", seed=2)
    assert explain_incomparable(scored(tmp_path / "coins_test").identity, read_result(whole).identity) == []

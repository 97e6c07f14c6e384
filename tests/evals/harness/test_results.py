from __future__ import annotations

import copy
import json

import pytest
from dicemodel import DiceModel, coins_task, generate
from hypothesis import given
from hypothesis import strategies as st

from evals.estimates import Estimate
from evals.harness.folder import read_samples, write_samples
from evals.harness.identity import Difference, EvaluationError, explain_incomparable, find_differences
from evals.harness.results import read_result, write_result
from evals.harness.score import score
from evals.verify import Verifier

IDENTITY = {
    "task": "math500",
    "version": "1",
    "data": "d47a",
    "output": "generate",
    "problems": 500,
    "samples": 4,
    "sampling": {"temperature": 0.6, "top_p": 0.95, "max_tokens": 4096},
    "seed": 0,
    "model": {
        "backend": "hf",
        "model": "Qwen/Qwen2.5-7B",
        "revision": "abc",
        "dtype": "bfloat16",
        "template": "chat",
        "template_hash": "77aa",
        "packages": {"lm_eval": "0.4.13", "torch": "2.13.0", "transformers": "5.17.0"},
    },
    "verifier": "2+math-verify-0.9.0",
    "segmenter": "blank_lines",
}


def changed(key, value):
    identity = copy.deepcopy(IDENTITY)
    *above, last = key.split(".")
    place = identity
    for part in above:
        place = place[part]
    place[last] = value
    return identity


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("coins_test")
    generate(coins_task(), DiceModel(), folder, seed=5)
    with Verifier() as verifier:
        score(folder, verifier=verifier, cut=lambda text: text.split("\n\n"), segmenter="blank_lines")
    return folder


# Which results stand in one table


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("version", "2"),
        ("data", "beef"),
        ("problems", 100),
        ("samples", 8),
        ("sampling.temperature", 1.0),
        ("sampling.max_tokens", 2048),
        ("model.backend", "vllm"),
        ("model.dtype", "float32"),
        ("model.template", "plain"),
        ("model.template_hash", "88bb"),
        ("model.packages.lm_eval", "0.4.14"),
        ("model.packages.torch", "2.14.0"),
        ("model.packages.vllm", "0.31.0"),
        ("verifier", "3+math-verify-0.9.0"),
        ("segmenter", "lines"),
        ("critic", {"name": "openai"}),
    ],
)
def test_what_decides_a_number_beside_the_model_must_agree(key, value):
    (difference,) = explain_incomparable(IDENTITY, changed(key, value))
    assert difference.key.startswith(key)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", 1),
        ("model.model", "Qwen/Qwen2.5-1.5B"),
        ("model.revision", "def"),
        ("model.weights", "a1"),
        ("model.adapter", "b2"),
    ],
)
def test_the_model_and_the_seed_may_differ(key, value):
    assert explain_incomparable(IDENTITY, changed(key, value)) == []


def test_all_that_differs_is_named_with_both_values():
    other = changed("model.dtype", "float32")
    other["sampling"]["top_p"] = 1.0
    assert explain_incomparable(IDENTITY, other) == [
        Difference("model.dtype", "bfloat16", "float32"), Difference("sampling.top_p", 0.95, 1.0)
    ]  # fmt: skip
    assert [str(one) for one in explain_incomparable(IDENTITY, other)] == [
        'model.dtype: "bfloat16" there, "float32" here', "sampling.top_p: 0.95 there, 1.0 here"
    ]  # fmt: skip


def test_a_key_that_only_begins_like_one_that_may_differ_counts():
    assert [one.key for one in explain_incomparable(IDENTITY, changed("model.model_length", 4))] == [
        "model.model_length"
    ]


TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.dictionaries(st.text("abc", min_size=1, max_size=2), inner, max_size=3),
    max_leaves=8,
)
IDENTITIES = st.dictionaries(st.text("abc", min_size=1, max_size=2), TREES, max_size=4)


@given(IDENTITIES)
def test_nothing_differs_from_itself(identity):
    assert find_differences(identity, json.loads(json.dumps(identity))) == []


@given(IDENTITIES, IDENTITIES)
def test_what_differs_one_way_differs_the_other(left, right):
    forth, back = find_differences(left, right), find_differences(right, left)
    assert [(one.key, one.left, one.right) for one in forth] == [(one.key, one.right, one.left) for one in back]


# The file


def test_a_result_comes_back_as_it_was_written(folder):
    result = read_result(folder)
    assert write_result(folder, read_samples(folder), {}, {"score_seconds": 0.0}).metrics == result.metrics
    assert all(isinstance(estimate, Estimate) for estimate in result.metrics.values())
    text = (folder / "result.json").read_text(encoding="ascii")
    assert "NaN" not in text
    assert "Infinity" not in text


def test_steps_that_a_critic_marked_later_change_the_result_and_its_identity(folder):
    samples = [{**sample, "wrong_steps": [0], "follow_steps": None} for sample in read_samples(folder)]
    write_samples(folder, samples)
    scoring = {"verifier": "2", "segmenter": "blank_lines", "critic": {"name": "transformers", "k": 4}}
    result = write_result(folder, read_samples(folder), scoring, {"score_seconds": 1.25})
    assert read_result(folder) == result
    assert result.metrics["sampled_wrong_step_rate"].value == pytest.approx(21 / sum(one["steps"] for one in samples))
    assert result.identity["critic"] == {"name": "transformers", "k": 4}
    assert result.cost["score_seconds"] == 1.25


def test_what_is_no_result_is_an_error_that_says_what_to_do(folder, tmp_path):
    with pytest.raises(
        EvaluationError, match=r"holds no result \(result\.json is missing\); score its completions first"
    ):
        read_result(tmp_path)
    for text in ("", "[]", '{"task": "x"}', '{"metrics": {"accuracy": {"value": 1}}}'):
        (tmp_path / "result.json").write_text(text)
        with pytest.raises(EvaluationError, match=r"result\.json is no result .*score the completions of"):
            read_result(tmp_path)

"""What is exported is what lm-eval writes of the same responses, key by key and value by value."""

from __future__ import annotations

import json
import logging
import math
import random
from dataclasses import replace

import pytest
from dicemodel import DiceModel, choice_task, coins_task, generate
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.evaluator import simple_evaluate
from lm_eval.loggers import EvaluationTracker
from lm_eval.result_schema import EvalResults
from lm_eval.tasks import TaskManager
from lm_eval.utils import get_file_task_name, make_table
from pydantic import TypeAdapter, ValidationError

from evals.harness.export import export
from evals.harness.identity import EvaluationError
from evals.harness.results import read_result
from evals.harness.score import score
from evals.harness.tasks import load_tasks
from evals.models.base import Completion, Likelihood, Usage
from evals.tasks import list_task_files
from evals.verify import Verifier

MODEL = "acme/dice-7b"
COUNT, K = 6, 3


class Bare(DiceModel):
    """Reads problems as they stand, as the embedded models do, and solves some of them."""

    def __init__(self, answers, **identity):
        super().__init__(packages={"lm_eval": "0.4.13", "transformers": "5.17.0"}, **identity)
        self._answers = answers

    def prompt(self, text):
        return text

    def _complete(self, prompt, seed, number):
        rng = random.Random(repr((seed, prompt, number)))
        if rng.random() < 0.2:
            return Completion("no idea", usage=Usage(output_tokens=2))
        said = self._answers[prompt] if rng.random() < 0.5 else "77"
        return Completion(f"1 + 1 = 2\n\n\\boxed{{{said}}}", usage=Usage(output_tokens=rng.randint(1, 32)))


class Replay(LM):
    """lm-eval's view of a model that says what was said before: texts by prompt, in turn."""

    def __init__(self, said, likelihoods):
        super().__init__()
        self._said, self._likelihoods = said, likelihoods

    def generate_until(self, requests: list[Instance], disable_tqdm=False):
        turns = {prompt: iter(texts) for prompt, texts in self._said.items()}
        return [next(turns[request.args[0]]) for request in requests]

    def loglikelihood(self, requests, disable_tqdm=False):
        return [self._likelihoods[request.args] for request in requests]

    def loglikelihood_rolling(self, requests, disable_tqdm=False):
        raise NotImplementedError


def scored(folder, task, model):
    generate(replace(task, samples=K) if task.output == "generate" else task, model, folder, seed=5)
    with Verifier() as verifier:
        score(folder, verifier=verifier, cut=lambda text: text.split("\n\n"), segmenter="blank_lines")
    return folder


def told(folder):
    return [json.loads(line) for line in (folder / "generations.jsonl").open()]


def exported(path):
    """Return results and the samples of each task."""
    samples = {
        get_file_task_name(file.name): [json.loads(line) for line in file.open(encoding="utf-8")]
        for file in sorted(path.parent.glob("samples_*.jsonl"))
    }
    return json.loads(path.read_text(encoding="utf-8")), samples


def by_lm_eval(task, replay, out):
    """Let lm-eval evaluate and write."""
    tracker = EvaluationTracker(output_path=str(out))
    tracker.general_config_tracker.log_experiment_args("hf", f"pretrained={MODEL}", None, None, False)
    found = simple_evaluate(replay, tasks=[task], bootstrap_iters=10, task_manager=TaskManager(include_defaults=False))
    samples = found.pop("samples")
    tracker.save_results_aggregated(found, samples)
    for name, lines in samples.items():
        tracker.save_results_samples(name, lines)
    return exported(next(out.glob("*/results_*.json")))


def lm_eval_task(name, repeats=1):
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    manager = TaskManager(include_defaults=False, metadata={"problems": COUNT})
    (task,) = manager.load([str(list_task_files()[name])])["tasks"].values()
    task.set_config("repeats", repeats)
    return task


@pytest.fixture(scope="module")
def coins(tmp_path_factory):
    """Ours and lm-eval's files of the same responses to coins."""
    home = tmp_path_factory.mktemp("coins")
    (task,) = load_tasks(["coins_test"], limit=COUNT)
    folder = scored(home / "coins_test", task, Bare({one.prompt: one.answer for one in task.problems}))
    prompts = {one.id: one.prompt for one in task.problems}
    said = {}
    for line in (line for line in told(folder) if line["decoding"] == "sampled"):
        said.setdefault(prompts[line["problem"]], []).append(line["completion"])
    ours = exported(export([folder], home / "ours", model=MODEL))
    return folder, ours, by_lm_eval(lm_eval_task("coins_test", K), Replay(said, {}), home / "theirs")


# Responses


def test_every_metric_that_lm_eval_computes_has_its_value(coins):
    _, (ours, _), (theirs, _) = coins
    ours, theirs = ours["results"]["capo_coins_test"], theirs["results"]["capo_coins_test"]
    assert {"accuracy,all", "no_answer,all", "unscored,all", "accuracy_stderr,all"} <= theirs.keys() <= ours.keys()
    for key, value in theirs.items():
        assert ours[key] == (pytest.approx(value) if isinstance(value, float) else value), key
    assert 0 < ours["accuracy,all"] < 1
    assert ours["accuracy_stderr,all"] > 0


def test_greedy_answers_have_a_filter_of_their_own(coins):
    folder, (ours, lines), _ = coins
    metrics, values = read_result(folder).metrics, ours["results"]["capo_coins_test"]
    assert (values["accuracy,all"], values["accuracy,greedy"]) == (metrics["avg_at_3"].value, metrics["accuracy"].value)
    assert (values["steps,all"], values["steps,greedy"]) == (metrics["sampled_steps"].value, metrics["steps"].value)
    assert (values["pass_at_3,all"], "pass_at_3,greedy" in values) == (metrics["pass_at_3"].value, False)
    greedy = [line for line in lines["capo_coins_test"] if line["filter"] == "greedy"]
    assert [len(line["resps"][0]) for line in greedy] == [1] * COUNT
    assert {line["arguments"]["gen_args_0"]["arg_1"]["do_sample"] for line in greedy} == {False}


def test_every_line_of_the_samples_is_lm_eval_s(coins):
    _, (_, ours), (_, theirs) = coins
    assert ours.keys() == theirs.keys() == {"capo_coins_test"}
    kept = [line for line in ours["capo_coins_test"] if line["filter"] == "all"]
    assert len(kept) == COUNT
    for our, their in zip(kept, theirs["capo_coins_test"], strict=True):
        assert their.keys() <= our.keys()
        for key, value in their.items():
            if key == "metrics":
                assert set(value) <= set(our[key])
            elif key in {"resps", "filtered_resps"}:
                # The replay has handed out the samples of a problem in the order of their number.
                assert our[key] == value
            else:
                assert our[key] == (pytest.approx(value) if isinstance(value, float) else value), key


def test_every_key_of_the_results_is_there_but_the_machine_and_the_tokenizer(coins):
    _, (ours, _), (theirs, _) = coins
    left_out = {"pretty_env_info", "upper_git_hash"}
    tokenizer = {"tokenizer_pad_token", "tokenizer_eos_token", "tokenizer_bos_token", "eot_token_id", "max_length"}
    assert theirs.keys() - ours.keys() <= left_out | tokenizer
    assert ours.keys() <= theirs.keys()
    for key in ("versions", "n-shot", "n-samples", "group_subtasks", "task_hashes"):
        assert ours[key] == theirs[key], key
    shared = theirs["config"].keys() & ours["config"].keys()
    assert theirs["config"].keys() == shared
    better = theirs["higher_is_better"]["capo_coins_test"]
    assert better.items() <= ours["higher_is_better"]["capo_coins_test"].items()
    config = theirs["configs"]["capo_coins_test"]
    for key in ("task", "output_type", "generation_kwargs", "repeats", "num_fewshot"):
        assert ours["configs"]["capo_coins_test"][key] == config[key], key


def test_the_results_are_of_lm_eval_s_schema(coins):
    _, (ours, _), (theirs, _) = coins
    schema = TypeAdapter(EvalResults)
    loose = {"configs", "git_hash"}  # lm-eval's own values there are of wider types than its schema says
    for results in (theirs, ours):
        schema.validate_python({key: value for key, value in results.items() if key not in loose})
    with pytest.raises(ValidationError, match="n-shot"):
        schema.validate_python({**ours, "n-shot": "none"})


def test_lm_eval_makes_its_table_of_it(coins):
    _, (ours, _), _ = coins
    assert "accuracy" in make_table(ours)


def test_datasets_read_the_samples(coins, tmp_path):
    from datasets import load_dataset

    folder, *_ = coins
    path = export([folder], tmp_path, model=MODEL)
    (file,) = path.parent.glob("samples_*.jsonl")
    rows = load_dataset("json", data_files=str(file), split="train", cache_dir=str(tmp_path / "cache"))
    assert len(rows) == 2 * COUNT  # of two filters


def test_identity_and_intervals_go_into_the_metadata(coins):
    folder, (ours, _), _ = coins
    metadata, result = ours["configs"]["capo_coins_test"]["metadata"], read_result(folder)
    assert metadata["identity"] == result.identity
    assert metadata["estimates"]["accuracy,greedy"]["high"] == result.metrics["accuracy"].high
    assert metadata["version"] == 1


# Options


def test_ranked_options_are_lm_eval_s_too(tmp_path):
    questions = [
        ("Which is red?", ("blood", "grass", "sea"), "A"),
        ("And é?", ("ü", "é ü"), "B"),
        ("Last?", ("x", "y"), "A"),
    ]
    found = {" grass": -9.0, " sea": -math.inf, " ü": -1.0, " é ü": -1.5, " x": -2.0, " y": -2.0}

    class Sure(DiceModel):
        def weigh(self, context, option):
            return Likelihood(found.get(option, -0.5), option == " ü")

    task = choice_task(questions)
    folder = scored(tmp_path / "arc_ll", task, Sure())
    ours, our_lines = exported(export([folder], tmp_path / "ours", model=MODEL))
    pairs = {(context, option) for context, options in task.queries for option in options}
    replay = Replay({}, {pair: (found.get(pair[1], -0.5), pair[1] == " ü") for pair in pairs})
    theirs, their_lines = by_lm_eval(ranked(questions), replay, tmp_path / "theirs")
    for key, value in theirs["results"]["capo_arc_ll"].items():
        assert ours["results"]["capo_arc_ll"][key] == (pytest.approx(value) if isinstance(value, float) else value), key
    assert ours["results"]["capo_arc_ll"]["acc,none"] == 2 / 3
    assert ours["results"]["capo_arc_ll"]["acc_norm,none"] == 1.0
    for our, their in zip(our_lines["capo_arc_ll"], their_lines["capo_arc_ll"], strict=True):
        for key in their.keys() - {"doc", "doc_hash", "metrics"}:
            assert our[key] == their[key], key


def ranked(questions):
    """The questions as a task of lm-eval's own making."""
    from datasets import Dataset
    from lm_eval.api.task import ConfigurableTask

    rows = [{"q": text, "options": list(options), "gold": "ABC".index(letter)} for text, options, letter in questions]
    return ConfigurableTask(config={
        "task": "capo_arc_ll", "custom_dataset": lambda **_: {"test": Dataset.from_list(rows)}, "test_split": "test",
        "output_type": "multiple_choice", "doc_to_text": "{{q}}\nAnswer:", "doc_to_target": "gold",
        "doc_to_choice": "options", "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
        "metadata": {"version": 1},
    })  # fmt: skip


# Files


def test_several_tasks_of_a_model_are_one_file_of_results(coins, tmp_path):
    folder, *_ = coins
    (task,) = load_tasks(["coins_longer"], limit=4)
    other = scored(tmp_path / "coins_longer", task, Bare({one.prompt: one.answer for one in task.problems}))
    results, samples = exported(export([folder, other], tmp_path / "out", model=MODEL, git_hash="abc1234"))
    assert list(results["results"]) == ["capo_coins_test", "capo_coins_longer"]
    assert samples.keys() == {"capo_coins_test", "capo_coins_longer"}
    assert results["git_hash"] == "abc1234"


def test_the_same_evaluation_is_the_same_files_again(coins, tmp_path):
    folder, *_ = coins
    path = export([folder], tmp_path, model=MODEL)
    before = {file: file.read_bytes() for file in path.parent.iterdir()}
    assert len(before) == 2
    assert path.parent == tmp_path / "acme__dice-7b"
    assert export([folder], tmp_path, model=MODEL) == path
    assert {file: file.read_bytes() for file in path.parent.iterdir()} == before


@pytest.mark.parametrize("model", ["..", "../../else", "/etc/passwd", ".", "a\\b:c*?"])
def test_no_name_of_a_model_leads_out_of_the_folder(coins, tmp_path, model):
    folder, *_ = coins
    path = export([folder], tmp_path / "out", model=model)
    assert path.parent.parent == tmp_path / "out"
    assert not path.parent.name.startswith(".")


def test_no_path_is_written_but_what_the_user_gave(coins, tmp_path):
    folder, *_ = coins
    path = export([folder], tmp_path / "out", model="./models/mine")
    text = "".join(file.read_text() for file in path.parent.iterdir())
    assert "./models/mine" in text
    assert str(tmp_path) not in text
    assert str(folder.parent) not in text


def test_hostile_responses_survive(tmp_path):
    folder = scored(tmp_path / "coins_test", coins_task(), DiceModel(failing=lambda place: place == 3))
    _, samples = exported(export([folder], tmp_path / "out", model=MODEL))
    said = [text for line in samples["capo_coins_test"] for text in line["resps"][0]]
    assert sorted(said) == sorted(line["completion"] for line in told(folder))


def test_tasks_of_different_models_are_not_one_export(coins, tmp_path):
    folder, *_ = coins
    other = scored(tmp_path / "coins_test", coins_task(), DiceModel(dtype="bfloat16"))
    with pytest.raises(EvaluationError, match=r"are of different models .*model\.dtype.*; export them one by one"):
        export([folder, other], tmp_path / "out", model=MODEL)
    same = replace(coins_task(), name="coins_again")
    others = [scored(tmp_path / name, same, DiceModel(weights=name)) for name in ("a", "b")]
    with pytest.raises(EvaluationError, match=r"are of different models \(the weights\)"):
        export(others, tmp_path / "out", model=MODEL)


def test_what_has_no_result_is_not_exported(tmp_path):
    generate(coins_task(), DiceModel(), tmp_path / "coins_test", seed=5)
    with pytest.raises(EvaluationError, match="holds no result"):
        export([tmp_path / "coins_test"], tmp_path / "out", model=MODEL)
    with pytest.raises(EvaluationError, match="nothing to export"):
        export([], tmp_path / "out", model=MODEL)

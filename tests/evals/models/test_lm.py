"""lm-eval's view of a model: its tasks of likelihoods and of text, through one thin class."""

from __future__ import annotations

import pytest
from lm_eval import simple_evaluate
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from tinymodel import PROMPTS, save_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from evals.models.base import Completion, ModelError, Usage
from evals.models.lm import HarnessLM
from evals.models.open import open_model
from evals.models.spec import ModelSpec
from evals.tasks import FOLDER

PAIRS = [
    *((prompt.strip(), option) for prompt in PROMPTS for option in (" 3", " Ann has 3 coins.", " 4", "\n\n3 + 4 = 7")),
    ("", "Ann has 3"),
    ("trailing spaces   ", "move"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model"), width=32)


@pytest.fixture(scope="module")
def model(folder):
    return open_model(ModelSpec(model=folder, batch_size=4))


@pytest.fixture(scope="module")
def stock(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return HFLM(AutoModelForCausalLM.from_pretrained(folder), tokenizer=tokenizer, batch_size=4)


def requests(kind, *arguments):
    return [Instance(kind, {}, each, place) for place, each in enumerate(arguments)]


def test_likelihoods_are_those_of_lm_evals_own_class_to_the_last_digit(model, stock):
    theirs = stock.loglikelihood(requests("loglikelihood", *PAIRS), disable_tqdm=True)
    assert HarnessLM(model).loglikelihood(requests("loglikelihood", *PAIRS)) == theirs


def test_whole_texts_are_weighed_as_there(model, stock):
    texts = [(prompt,) for prompt in PROMPTS]
    theirs = stock.loglikelihood_rolling(requests("loglikelihood_rolling", *texts), disable_tqdm=True)
    ours = HarnessLM(model).loglikelihood_rolling(requests("loglikelihood_rolling", *texts))
    assert ours == pytest.approx(theirs, abs=1e-4)


def test_a_text_that_is_too_long_for_the_model_is_weighed_in_windows(model, folder):
    text = "\n\n".join(PROMPTS * 60)
    longest = model.positions - 2
    assert len(model.encode(text)) > 2 * longest
    tokenizer = AutoTokenizer.from_pretrained(folder)
    stock = HFLM(AutoModelForCausalLM.from_pretrained(folder), tokenizer=tokenizer, batch_size=4, max_length=longest)
    (theirs,) = stock.loglikelihood_rolling(requests("loglikelihood_rolling", (text,)), disable_tqdm=True)
    assert HarnessLM(model).loglikelihood_rolling(requests("loglikelihood_rolling", (text,))) == [pytest.approx(theirs)]


def test_lm_eval_runs_its_tasks_with_it(model):
    tasks = TaskManager(include_path=str(FOLDER), include_defaults=False)
    done = simple_evaluate(
        HarnessLM(model), tasks=["capo_coins_test"], limit=2, task_manager=tasks, bootstrap_iters=0, log_samples=True
    )
    assert done["results"]["capo_coins_test"]["sample_len"] == 2
    for sample in done["samples"]["capo_coins_test"]:
        assert len(sample["resps"][0]) == 8, "as many as the task samples"
        assert len(set(sample["resps"][0])) > 1


GREEDY = {"until": ["\n\n"], "max_gen_toks": 8, "do_sample": False}


def test_greedy_texts_are_those_of_lm_evals_own_class(model, stock):
    asked = [(prompt, GREEDY) for prompt in PROMPTS]
    theirs = stock.generate_until(requests("generate_until", *asked), disable_tqdm=True)
    assert HarnessLM(model).generate_until(requests("generate_until", *asked)) == theirs


def test_equal_requests_are_drawn_independently_and_come_again(model):
    warm = {"until": [], "max_gen_toks": 8, "do_sample": True, "temperature": 1.0}
    asked = requests("generate_until", *[(PROMPTS[0], warm)] * 4, (PROMPTS[1], warm))
    texts = HarnessLM(model, seed=3).generate_until(asked)
    assert len(set(texts[:4])) > 1
    assert HarnessLM(model, seed=3).generate_until(asked) == texts
    assert HarnessLM(model, seed=4).generate_until(asked) != texts


class OneAnswer:
    """Answers every prompt with one completion."""

    def __init__(self, completion):
        self._completion = completion

    async def complete(self, prompts, n, sampling, *, seed, first=0):
        return [[self._completion] * n for _ in prompts]


def test_a_text_is_cut_at_the_first_stop_string():
    lm = HarnessLM(OneAnswer(Completion("one; two. three", usage=Usage(output_tokens=9))))
    assert lm.generate_until(requests("generate_until", ("?", {"until": [".", ";"]}), ("?", {"until": "."}))) == [
        "one", "one; two",
    ]  # fmt: skip


def test_what_failed_is_an_error_there():
    with pytest.raises(ModelError, match="a completion failed: status 500"):
        HarnessLM(OneAnswer(Completion("status 500", "error"))).generate_until(
            requests("generate_until", ("?", GREEDY))
        )

"""What the embedded critic is taught is what the parser reads and the checker says, and what it is made of survives."""

from __future__ import annotations

import random
import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from evals.coins.problems import SPLITS, draw, read
from evals.coins.pupil import MISCONCEPTIONS, Misconception, Pupil
from evals.coins.solutions import attempt, check
from trainers.cold_start import _draw_demonstrations
from trainers.config import ColdStartConfig
from trainers.credit.critique import Aim
from trainers.credit.parse import parse
from trainers.credit.prompt import critique_prompt, write_instructions
from trainers.critics.base import EmbeddedCriticConfig
from trainers.critics.embedded import _draw_lessons, _write_critique, train_critic

_REVIEWED = re.compile(r"\] (\d+) ([+\-*]) (\d+) = \d+, says (\d+): (right|wrong)")
SHORT = EmbeddedCriticConfig(steps=4, problems_per_step=8)


@given(st.integers(0, 2**32), st.floats(0, 0.5), st.floats(0, 0.5))
def test_a_taught_review_reads_as_the_checkers_verdict(seed: int, slip: float, stray: float) -> None:
    (problem,) = draw("train", 1, seed, (2, 7))
    steps = attempt(read(problem.prompt), random.Random(seed), Pupil(MISCONCEPTIONS, slip, slip), stray)
    assert (
        parse(_write_critique(problem, steps, "steps"), "steps", len(steps)) == check(read(problem.prompt), steps).wrong
    )


@given(st.integers(0, 2**32))
def test_a_taught_judgment_reads_as_whether_the_answer_is_the_reference(seed: int) -> None:
    (problem,) = draw("train", 1, seed, (2, 7))
    steps = attempt(read(problem.prompt), random.Random(seed), Pupil(slip=0.2), 0.2)
    wrong = steps[-1] != f"\\boxed{{{problem.answer}}}"
    assert parse(_write_critique(problem, steps, "answer"), "answer", len(steps)) == ({0} if wrong else set())


def test_a_review_works_out_each_step_from_the_claims_before_it() -> None:
    (problem,) = draw("train", 1, 3, (3, 3))
    chain = read(problem.prompt)
    (sign, operand), total = chain.operations[0], chain.totals()[0]
    first = f"{chain.start} {sign} {operand} = {total}"
    steps = [f"{chain.start} {sign} {operand} = {total + 1}", *("?", "?"), f"\\boxed{{{total + 1}}}"]
    lines = _write_critique(problem, steps, "steps").splitlines()
    assert lines[0] == f"[1] {first}, says {total + 1}: wrong 1"
    second_sign, second = chain.operations[1]
    assert lines[1].startswith(f"[2] {total + 1} {second_sign} {second} = ")
    assert lines[1].endswith(", says nothing: wrong 2")
    assert lines[-1] == "Wrong steps: [1, 2, 3]" or lines[-1] == "Wrong steps: [1, 2, 3, 4]"


def test_lessons_ask_everything_that_a_critic_is_asked() -> None:
    asked: Counter[tuple[Aim, bool]] = Counter()
    aims: list[Aim] = ["steps", "answer"]
    for prompt, _ in _draw_lessons(EmbeddedCriticConfig(steps=10, problems_per_step=64)):
        asked.update(
            (aim, shown)
            for aim in aims
            for shown in (False, True)
            if prompt.startswith(write_instructions(aim, shown) + "Problem:")
        )
    assert asked.total() == 640
    assert all(asked[aim, shown] > 64 for aim in aims for shown in (False, True))


@pytest.fixture(scope="module")
def lessons() -> list[tuple[str, str]]:
    return list(_draw_lessons(EmbeddedCriticConfig(steps=20, problems_per_step=64)))


def test_every_wrong_rule_is_seen_followed_and_seen_resisted(lessons: list[tuple[str, str]]) -> None:
    """Else the critic could call every step wrong, or right, to which a rule applies."""
    followed, resisted = Counter[Misconception](), Counter[Misconception]()
    for _, said in lessons:
        for before, sign, operand, claim, verdict in _REVIEWED.findall(said):
            for rule in MISCONCEPTIONS:
                result = rule.result(int(before), sign, int(operand))
                followed[rule] += claim == str(result) and verdict == "wrong"
                resisted[rule] += result is not None and verdict == "right"
    assert all(followed[rule] > 50 and resisted[rule] > 50 for rule in MISCONCEPTIONS)


def test_lessons_have_all_lengths_and_sentences_about_others(lessons: list[tuple[str, str]]) -> None:
    texts = [prompt[prompt.index("Problem:") : prompt.index("Solution:")] for prompt, _ in lessons]
    chains = [read(text.removeprefix("Problem:\n")) for text in texts]
    assert {len(chain.operations) for chain in chains} == set(range(2, 10))
    asides = Counter(text.count(".") - 1 - len(chain.operations) for text, chain in zip(texts, chains, strict=True))
    assert asides.keys() == set(SPLITS["reviews"].distractors)
    assert min(asides.values()) > 100


@pytest.mark.parametrize("seed", [0, 7])
def test_no_chain_that_the_critic_learns_from_is_one_of_the_cold_starts(seed: int) -> None:
    count = {"steps": 20, "problems_per_step": 64, "seed": seed}
    taught = {
        _chain(prompt[prompt.index("Problem:\n") + 9 :]) for prompt, _ in _draw_lessons(EmbeddedCriticConfig(**count))
    }
    started = {_chain(prompt) for prompt, _ in _draw_demonstrations(ColdStartConfig(**count))}
    assert len(taught) > 1000
    assert len(started) > 1000
    assert not taught & started


def _chain(prompt: str) -> tuple[int, tuple[tuple[str, int], ...]]:
    chain = read(prompt.partition("How many?")[0])
    return chain.start, chain.operations


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> str:
    records: list[int] = []
    folder = tmp_path_factory.mktemp("critic")
    train_critic(SHORT, folder, lambda record: records.append(record["step"]))
    assert records == [1, 2, 3, 4]
    return str(folder)


def test_model_and_tokenizer_come_back_through_the_auto_classes(taught: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(taught)
    assert AutoModelForCausalLM.from_pretrained(taught).get_input_embeddings().num_embeddings == len(tokenizer)
    for prompt, said in _draw_lessons(SHORT):
        ids = tokenizer(prompt + said)["input_ids"]
        assert tokenizer.decode(ids) == prompt + said
        assert len(ids) < 256


@pytest.mark.parametrize("aim", ["steps", "answer"])
@pytest.mark.parametrize("reference", [None, "7"])
def test_the_instructions_are_one_token_and_the_chat_template_adds_nothing(
    taught: str, aim: Aim, reference: str | None
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(taught)
    prompt = critique_prompt("Ann has 3 coins. How many?", ["\\boxed{3}"], aim=aim, reference=reference)
    ids = tokenizer(prompt)["input_ids"]
    assert tokenizer.decode(ids[:1]) == write_instructions(aim, reference is not None)
    message = [{"role": "user", "content": prompt}]
    assert tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True) == prompt


def test_two_lessons_alike_make_the_same_model(taught: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    again = tmp_path_factory.mktemp("again")
    train_critic(SHORT, again, lambda record: None)
    first, second = (AutoModelForCausalLM.from_pretrained(folder).state_dict() for folder in (taught, str(again)))
    assert all(bool((first[name] == second[name]).all()) for name in first)

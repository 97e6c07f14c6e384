from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.coins.problems import LIMIT, MEASURED, NAMES, SPLITS, UNSEEN, Chain, draw, draw_chain, read, render

ADDED = Chain("Ann", 3, (("+", 4), ("-", 2), ("*", 3)))

operands = st.integers(1, 9)
moves = st.one_of(
    st.tuples(st.sampled_from("+-"), operands),
    st.tuples(st.just("*"), st.sampled_from([2, 3])),
)
chains = st.builds(Chain, st.sampled_from(NAMES), st.integers(0, 20), st.lists(moves, max_size=9).map(tuple))
bounds = st.tuples(st.integers(1, 9), st.integers(0, 3)).map(lambda pair: (pair[0], pair[0] + pair[1]))


def held_out_key(chain):
    return chain.start, chain.operations


def test_the_total_runs_along_the_operations():
    assert ADDED.totals() == [7, 5, 15]


def test_a_problem_is_one_sentence_an_operation():
    text = render(ADDED, random.Random(0))
    assert text == "Ann has 3 coins. Ann finds 4. Ann spends 2. Ann makes it 3 times. How many?\n"


def test_a_problem_with_asides_is_read_by_hand():
    text = "Ann has 3 coins. Bob has 9. Ann finds 4. Eve spends 7. Bob finds 1. Ann spends 2. How many?\n"
    assert read(text) == Chain("Ann", 3, (("+", 4), ("-", 2)))


@given(chains, st.integers(0, 2**32), st.integers(0, 5))
def test_what_is_written_is_read_back_whatever_is_said_of_others(chain, seed, asides):
    text = render(chain, random.Random(seed), asides)
    assert read(text) == chain
    assert text.count(".") == 1 + len(chain.operations) + asides


@given(chains, st.integers(0, 2**32))
def test_asides_are_about_somebody_else(chain, seed):
    plain = set(render(chain, random.Random(seed)).split(". "))
    added = set(render(chain, random.Random(seed), 3).split(". ")) - plain
    assert not any(sentence.startswith(chain.name) for sentence in added)


@given(st.integers(0, 2**32), bounds)
def test_the_total_never_leaves_its_range(seed, operations):
    chain = draw_chain(random.Random(seed), operations)
    assert all(0 <= total <= LIMIT for total in [chain.start, *chain.totals()])
    assert operations[0] <= len(chain.operations) <= operations[1]


@pytest.mark.parametrize("split", SPLITS)
def test_a_split_keeps_to_its_lengths_and_answers(split):
    low, high = SPLITS[split].operations
    seen = set()
    for problem in draw(split, 200, seed=1):
        chain = read(problem.prompt)
        seen.add(len(chain.operations))
        assert problem.answer == str(chain.totals()[-1])
    assert seen == set(range(low, high + 1))


def test_reinforcement_never_adds_or_spends_six_and_the_unseen_split_always_does():
    share = {
        split: sum(not UNSEEN.isdisjoint(read(problem.prompt).operations) for problem in draw(split, 200, 0)) / 200
        for split in SPLITS
    }
    lessons, reviews = share.pop("lessons"), share.pop("reviews")
    assert share == {"train": 0, "test": 0, "longer": 0, "distractors": 0, "unseen": 1}
    assert 0.3 < lessons < 0.7
    assert 0.3 < reviews < 0.7


def test_lessons_and_the_distractor_split_speak_of_others():
    others = {
        split: sum(sentence.split()[0] != read(p.prompt).name for p in draw(split, 20, 0) for sentence in sentences(p))
        for split in SPLITS
    }
    lessons, reviews = others.pop("lessons"), others.pop("reviews")
    assert others == {"train": 0, "test": 0, "longer": 0, "distractors": 20, "unseen": 0}
    assert 0 < lessons < 20
    assert 0 < reviews < 20


def sentences(problem):
    return problem.prompt.removesuffix(" How many?\n").rstrip(".").split(". ")


@pytest.mark.parametrize("split", SPLITS)
def test_the_same_arguments_give_the_same_problems(split):
    assert draw(split, 30, 7) == draw(split, 30, 7)
    assert draw(split, 30, 7)[:10] == draw(split, 10, 7)  # more problems, the same first ones
    assert draw(split, 30, 7) != draw(split, 30, 8)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10**6), st.none() | bounds)
def test_no_pool_holds_a_problem_of_another_whatever_the_seed_and_lengths(seed, operations):
    def keys(split):
        # The same lengths, so that the chains could meet.
        return {held_out_key(read(problem.prompt)) for problem in draw(split, 20, seed, operations)}

    policies, judges = keys("train") | keys("lessons"), keys("reviews")
    tested = set.union(*map(keys, MEASURED))
    assert not policies & judges
    assert not policies & tested
    assert not judges & tested


def test_training_meets_no_test_chain_where_chains_are_few():
    trained = {held_out_key(read(p.prompt)) for p in draw("train", 2000, 0, (1, 1))}
    tested = {held_out_key(read(p.prompt)) for p in draw("test", 300, 0, (1, 1))}
    assert len(trained) > 50
    assert len(tested) > 10
    assert not trained & tested


def test_who_the_problem_is_about_does_not_make_it_another_one():
    # Same chain, another name: held out is a matter of the numbers alone.
    trained = {held_out_key(read(p.prompt)) for p in draw("train", 500, 0, (1, 1))}
    names = {key: set() for key in trained}
    for problem in draw("train", 2000, 1, (1, 1)):
        chain = read(problem.prompt)
        names.setdefault(held_out_key(chain), set()).add(chain.name)
    assert max(map(len, names.values())) > 1


def test_ids_are_unique_and_say_where_from():
    problems = [p for split in SPLITS for seed in (0, 1) for p in draw(split, 20, seed)]
    assert len({problem.id for problem in problems}) == len(problems)
    assert draw("test", 2, 3)[1].id == "coins/test/3/1"


def test_problems_of_other_lengths_have_other_ids():
    usual, short = draw("train", 5, 0), draw("train", 5, 0, (2, 3))
    assert not {p.id for p in usual} & {p.id for p in short}


def test_none_asked_none_given():
    assert draw("test", 0, 0) == []


def test_an_unknown_split_names_those_there_are():
    with pytest.raises(
        ValueError, match=r"no split 'tset'; it has train, lessons, reviews, test, longer, distractors, unseen"
    ):
        draw("tset", 1, 0)

"""Overlap of training rows with an evaluation, by hand and on real rows."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.tasks.contamination import LENGTH, find_overlaps

THIRTEEN = "one two three four five six seven eight nine ten eleven twelve thirteen"
TWELVE = THIRTEEN.removesuffix(" thirteen")


@pytest.mark.parametrize(
    ("problem", "row", "shared"),
    [
        (f"First: {THIRTEEN}?", f"{THIRTEEN.title()}, said Ann", True),
        (f"First: {TWELVE}?", f"{TWELVE} and more", False),
        ("one-two (three) four, five: six; seven $8$ nine ten eleven twelve thirteen", "ONE TWO three 4", False),
        (THIRTEEN, THIRTEEN.replace(" ", ", "), True),
        ("What is 2 + 2?", "what is  $2+2$?", True),
        ("What is 2 + 2?", "What is 2 * 2?", False),
        ("What is 2 + 2?", f"What is 2 + 2? {THIRTEEN}", False),
        ("Was sind 1 und 1?", "Was sind 1 und 2?", False),
    ],
)
def test_thirteen_words_in_a_row_are_shared_or_a_short_problem_is_the_same(problem, row, shared):
    assert find_overlaps(["nothing of it", row], {"p": problem}) == ({"p": 1} if shared else {})


WORDS = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=40)


@given(WORDS, WORDS)
def test_the_rule_is_that_of_a_search_by_hand(problem, row):
    text, other = " ".join(problem), " ".join(row)
    runs = [problem[at : at + LENGTH] for at in range(len(problem) - LENGTH + 1)]
    found = any(row[at : at + LENGTH] in runs for at in range(len(row) - LENGTH + 1))
    expected = found if len(problem) >= LENGTH else text == other
    assert bool(find_overlaps([other], {"p": text})) == expected


def test_the_first_row_is_named_for_each_problem():
    assert find_overlaps([THIRTEEN, THIRTEEN], {"a": THIRTEEN, "b": f"x {THIRTEEN}"}) == {"a": 0, "b": 0}


def test_gsm8k_against_its_test_takes_a_moment_and_finds_what_was_reworded(benchmark_data):
    """7,473 rows and 1,055 problems: a third of a second; the limit is for a machine that does other things too."""
    if not (benchmark_data / "gsm8k" / "train.jsonl").exists():
        pytest.skip("no gsm8k/train.jsonl among the benchmark files")
    train, test = (
        [json.loads(line)["question"] for line in (benchmark_data / "gsm8k" / f"{split}.jsonl").open()]
        for split in ("train", "test")
    )
    began = time.process_time()
    found = find_overlaps(train, {str(number): text for number, text in enumerate(test)})
    assert time.process_time() - began < 5
    pairs = {test[int(problem)][:26]: train[row][:28] for problem, row in found.items()}
    assert pairs["A plane travels 1200 miles"] == "A train travels 270 miles in"
    assert len(found) < 10

"""The multiple-choice benchmarks' rows become questions with options and a letter, and what is asked of a model."""

from __future__ import annotations

import pytest
from rowsof import raw

from evals.models.prompt import INSTRUCTION
from evals.tasks.canonical import get_form
from evals.tasks.choices import arc_challenge, gpqa_diamond, mmlu_pro
from evals.tasks.prompts import instructed, lettered, letters, listed, right_option
from evals.tasks.rows import DataErrors
from evals.verify import Form

HUB_S = {"id": "M_1", "question": "Why?", "choices": {"text": ["a", "b", "c"], "label": ["A", "B", "C"]}}
AI2_S = {
    "id": "M_1",
    "question": {
        "stem": "Why?",
        "choices": [{"text": "a", "label": "A"}, {"text": "b", "label": "B"}, {"text": "c", "label": "C"}],
    },
}
MMLU = {"question_id": 70, "question": "Which?", "options": list("abcdefghij"), "answer": "J", "answer_index": 9}
GPQA = {
    "Question": " Which? ",
    "Correct Answer": "right\n",
    "Incorrect Answer 1": "wrong",
    "Incorrect Answer 2": "bad",
    "Incorrect Answer 3": "no",
    "Subdomain": "…",
}


def only(dataset):
    (doc,) = dataset
    return doc


def test_both_layouts_of_arc_give_one_doc():
    ours, theirs = (only(arc_challenge(raw({**row, "answerKey": "B"}))) for row in (HUB_S, AI2_S))
    assert ours == theirs
    assert (ours["id"], ours["answer"], ours["options"]) == ("b/M_1", "B", ["a", "b", "c"])
    assert get_form(ours) == Form("choice", options=("a", "b", "c"))


@pytest.mark.parametrize(
    ("labels", "key", "letter"), [("1234", "3", "C"), ("12345", "5", "E"), ("ABC", "A", "A"), ("ABCDE", "E", "E")]
)
def test_arc_s_labels_become_letters(labels, key, letter):
    choices = {"text": [f"option {label}" for label in labels], "label": list(labels)}
    doc = only(arc_challenge(raw({**HUB_S, "choices": choices, "answerKey": key})))
    assert (doc["answer"], len(doc["options"])) == (letter, len(labels))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"answerKey": "D"}, "here:1: answerKey is 'D' and the labels of 3 options are ['A', 'B', 'C']; give each"),
        ({"answerKey": "1"}, "here:1: answerKey is '1' and the labels"),
        ({"answerKey": "A", "choices": {"text": ["a", "b"], "label": ["A"]}}, "of 2 options are ['A']"),
        (
            {"answerKey": "A", "choices": {"text": ["a"], "label": ["A"]}},
            "here:1: choices.text is ['a'] but should have",
        ),
        ({}, "here:1: key 'answerKey' is missing; the row has "),
        ({"answerKey": "A", "question": {"stem": "Why?", "choices": "abc"}}, "here:1: question is {"),
        ({"answerKey": "A", "question": {"stem": "Why?", "choices": [1, 2]}}, "here:1: choices.text is [] but"),
    ],
)
def test_arc_s_bad_rows(changes, told):
    with pytest.raises(DataErrors) as errors:
        arc_challenge(raw({**HUB_S, **changes}))
    assert told in str(errors.value)


def test_mmlu_pro_goes_to_the_tenth_letter():
    doc = only(mmlu_pro(raw(MMLU, benchmark="mmlu_pro")))
    assert (doc["id"], doc["answer"], doc["options"][-1]) == ("mmlu_pro/70", "J", "j")


def test_mmlu_pro_s_letter_is_trusted_and_not_its_index():
    assert only(mmlu_pro(raw({**MMLU, "answer": "C", "answer_index": 1})))["answer"] == "C"


@pytest.mark.parametrize("letter", ["K", "c", "3", "AB"])
def test_mmlu_pro_s_bad_letters(letter):
    with pytest.raises(DataErrors, match=rf"here:1: answer is '{letter}' but there are 10 options, A to J; give"):
        mmlu_pro(raw({**MMLU, "answer": letter}))


def test_gpqa_s_options_are_in_an_order_of_their_own_and_the_same_for_everybody():
    doc = only(gpqa_diamond(raw(GPQA)))
    assert doc["options"] == ["right", "bad", "no", "wrong"]
    assert (doc["answer"], doc["problem"]) == ("A", "Which?")
    moved = {**GPQA, "Incorrect Answer 1": "no", "Incorrect Answer 3": "wrong"}
    assert only(gpqa_diamond(raw(moved))) == doc


def test_gpqa_s_right_answers_are_spread_over_the_letters():
    docs = gpqa_diamond(raw(*({**GPQA, "Question": f"{number}?"} for number in range(200))))
    counts = [docs["answer"].count(letter) for letter in "ABCD"]
    assert sum(counts) == 200
    assert min(counts) > 30


def test_gpqa_s_missing_columns_are_told_by_their_own_names():
    with pytest.raises(
        DataErrors, match=r"here:1: key 'Incorrect Answer 3' is missing \(did you mean 'Incorrect Answer "
    ):
        gpqa_diamond(raw({key: value for key, value in GPQA.items() if key != "Incorrect Answer 3"}))


def test_what_a_model_reads():
    doc = only(arc_challenge(raw({**HUB_S, "answerKey": "B"})))
    assert listed(doc) == "Why?\n\nA. a\nB. b\nC. c\n\nWhich option is right? Answer with its letter."
    assert instructed(doc) == INSTRUCTION + listed(doc)
    assert instructed({"problem": "1+1?", "options": []}) == INSTRUCTION + "1+1?"
    assert lettered(doc) == "Question: Why?\nA. a\nB. b\nC. c\nAnswer:"
    assert (letters(doc), right_option(doc)) == (["A", "B", "C"], 1)

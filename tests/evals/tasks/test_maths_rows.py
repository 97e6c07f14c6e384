"""The maths benchmarks' rows, in the layouts that they come in, become problems with an answer."""

from __future__ import annotations

import pytest
from rowsof import raw

from evals.tasks.maths import drawn, gsm8k, olympiadbench, problems
from evals.tasks.rows import DataErrors

OLYMPIAD = {
    "id": 1606,
    "question": "How many?",
    "context": None,
    "final_answer": ["2"],
    "is_multiple_answer": False,
    "unit": None,
}
OF_THE_HUB = {
    "modality": "Text-only",
    "language": "English",
    "subject": "Math",
    "question_type": "Open-ended",
    "image_1": None,
}


def only(dataset):
    (doc,) = dataset
    return doc


def test_a_row_becomes_a_doc_of_seven_columns():
    row = {"unique_id": "test/algebra/1.json", "problem": "1+1?", "solution": "\\boxed{2}", "answer": "2", "level": 1}
    assert only(problems(raw(row, benchmark="math500"))) == {
        "id": "math500/test/algebra/1.json",
        "problem": "1+1?",
        "answer": "2",
        "kind": "math",
        "several": False,
        "unit": None,
        "options": [],
    }


@pytest.mark.parametrize(
    ("row", "name", "answer"),
    [
        ({"id": 60, "problem": "?", "answer": "025", "solution": "…", "year": "2024"}, "b/60", "025"),
        ({"ID": "2024-I-4", "Problem": "?", "Answer": 116, "Solution": "…"}, "b/2024-I-4", "116"),
        ({"id": "0", "problem": "?", "answer": "70"}, "b/0", "70"),
        ({"id": 0, "question": "?", "answer": 27.0, "url": "…"}, "b/0", "27"),
        ({"id": 1, "problem": "?", "question": "?", "answer": -1.0}, "b/1", "-1"),
        ({"id": 2, "question": "?", "answer": 0.5}, "b/2", "0.5"),
        ({"idx": 5, "problem": "?", "solution": "So \\boxed{1}, no: $\\boxed{ 1.6 }$ cm", "type": "…"}, "b/5", "1.6"),
        ({"id": 7, "problem": "?", "solution": "\\boxed{\\frac{1}{2}}"}, "b/7", "\\frac{1}{2}"),
        ({"question": "?", "answer": " 1.6 "}, "b/8a8de823d5ed", "1.6"),
    ],
    ids=["HuggingFaceH4", "Maxwell-Jia", "math-ai AIME", "AMC", "AMC below zero", "a fraction", "Minerva, boxed",
         "math-ai AIME 2024", "Minerva of the hub"],
)  # fmt: skip
def test_the_layouts_of_a_problem_with_an_answer(row, name, answer):
    doc = only(problems(raw(row)))
    assert (doc["id"], doc["problem"], doc["answer"]) == (name, "?", answer)


def test_all_wrong_rows_are_told_with_value_rule_and_way_out():
    with pytest.raises(DataErrors) as errors:
        problems(
            raw(
                {"id": 1, "problem": "?", "answer": "1"},
                {"id": 2, "answer": "1"},
                {"id": 3, "problem": 5, "answer": "1"},
                {"id": 4, "problem": "?", "answer": " "},
                {"id": 5, "problem": "?", "solution": "it is 5"},
                {"id": 6, "problem": "?", "answer": ["6"]},
                {"id": 1, "problem": "!", "answer": "1"},
            )
        )
    told = str(errors.value).splitlines()
    assert told[0] == "here:2: key 'problem' is missing; the row has id, answer"
    assert told[1] == "here:3: problem is 5 but should be a valid string; correct the row"
    assert told[2].startswith("here:4: answer is ' ' and the solution boxes none; give the answer, or a solution with")
    assert told[3].startswith("here:5: answer is None and the solution boxes none")
    assert all(line.startswith("here:6: answer is ['6'] but should be a valid ") for line in told[4:-1])
    assert told[-1] == "here:7: the problem '1' is there twice, first at here:1; remove one of them"


def test_no_problems_at_all_are_told():
    with pytest.raises(DataErrors, match="here: holds no problem of this benchmark; name another file"):
        problems(raw())


def test_a_dataset_that_lm_eval_loaded_itself_will_do():
    assert only(problems([{"id": 1, "problem": "?", "answer": "1"}]))["id"] == "1"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("9 * 2 = $<<9*2=18>>18\n#### 18", "18"),
        ("#### 1,450,000 ", "1450000"),
        ("#### -10\n", "-10"),
        ("#### is how it ends\n#### 3.5", "3.5"),
    ],
)
def test_gsm8k_ends_in_its_answer(text, answer):
    assert only(gsm8k(raw({"question": "?", "answer": text})))["answer"] == answer


def test_gsm8k_s_ids_go_with_the_question_and_not_with_its_place():
    rows = [{"question": f"{n}?", "answer": f"#### {n}"} for n in range(3)]
    assert set(gsm8k(raw(*rows))["id"]) > set(gsm8k(raw(*rows[1:]))["id"])


def test_gsm8k_without_a_final_line_is_told():
    with pytest.raises(DataErrors, match="here:1: answer is '18' but should end as in '#### 18'; write it there"):
        gsm8k(raw({"question": "?", "answer": "18"}))


@pytest.mark.parametrize(
    ("changes", "answer", "several", "unit"),
    [
        ({}, "2", False, None),
        ({"final_answer": ["$2^{1009}$"]}, "2^{1009}", False, None),
        ({"final_answer": ["$69$,$84$"], "is_multiple_answer": True}, "69,84", True, None),
        ({"final_answer": ["1, 3, 5, 15"], "is_multiple_answer": True}, "1, 3, 5, 15", True, None),
        ({"final_answer": ["1", "$2$"], "is_multiple_answer": True}, "1, 2", True, None),
        ({"final_answer": ["$166$"], "unit": "$cm^2$"}, "166", False, "cm^2"),
        ({"final_answer": ["\\$5"], "unit": ""}, "\\$5", False, None),
    ],
)
def test_olympiadbench_s_answers(changes, answer, several, unit):
    doc = only(olympiadbench(raw({**OLYMPIAD, **changes}, benchmark="olympiadbench")))
    assert (doc["id"], doc["answer"], doc["several"], doc["unit"]) == ("olympiadbench/1606", answer, several, unit)


def test_olympiadbench_s_context_comes_before_the_question():
    assert only(olympiadbench(raw({**OLYMPIAD, "context": "Let n = 2."})))["problem"] == "Let n = 2.\nHow many?"


@pytest.mark.parametrize(
    "changes",
    [
        {"modality": "Multimodal"},
        {"language": "Chinese"},
        {"subject": "Physics"},
        {"question_type": "Theorem proof", "final_answer": None},
    ],
)
def test_of_the_hub_s_olympiadbench_only_what_can_be_verified_is_taken(changes):
    rows = raw({**OLYMPIAD, **OF_THE_HUB}, {**OLYMPIAD, **OF_THE_HUB, "id": 2, **changes})
    assert only(olympiadbench(rows))["id"] == "b/1606"


def test_an_open_question_without_an_answer_is_told():
    with pytest.raises(DataErrors, match=r"here:1: final_answer is \[' '\] but should hold the answer; give it"):
        olympiadbench(raw({**OLYMPIAD, "final_answer": [" "]}))


def test_coins_keeps_its_ids():
    row = {"id": "coins/test/0/17", "problem": "Tom has 1 coins. How many?\n", "answer": "1"}
    assert only(drawn(raw(row, benchmark="")))["id"] == "coins/test/0/17"

"""What plain lm-eval is told of a doc's responses."""

from __future__ import annotations

from evals.tasks.scoring import all_responses, verified

DOC = {"answer": "\\frac{1}{2}", "kind": "math", "several": False, "unit": None, "options": []}
CHOICE = {"answer": "B", "kind": "choice", "several": False, "unit": None, "options": ["red", "blue"]}


def test_accuracy_is_over_all_responses():
    responses = ["so \\boxed{0.5}", "so \\boxed{\\dfrac12}", "so \\boxed{2}", "I do not know"]
    assert verified(DOC, [responses]) == {"accuracy": 0.5, "no_answer": 0.25, "unscored": 0.0}


def test_the_doc_says_what_kind_of_answer_it_has():
    assert verified(CHOICE, [["\\boxed{B}", "\\boxed{(b)}", "\\boxed{\\text{blue}}", "\\boxed{A}"]])["accuracy"] == 0.75
    several = {**DOC, "answer": "69,84", "several": True}
    assert verified(several, [["\\boxed{84, 69}", "\\boxed{69}"]])["accuracy"] == 0.5
    unit = {**DOC, "answer": "166", "unit": "cm^2"}
    assert verified(unit, [["\\boxed{166 \\text{ cm}^2}", "\\boxed{166}"]])["accuracy"] == 1.0


def test_every_response_reaches_the_score():
    assert all_responses([["a", "b"], ["c", "d"]], docs=None) == [["a", "b"], ["c", "d"]]


def test_what_nobody_could_judge_is_left_out(monkeypatch):
    from evals.tasks import scoring
    from evals.verify import Verdict

    class Tired:
        def verify(self, pairs, forms):
            return [Verdict(None, "timeout", "9^{9^9}", 3.0) for _ in pairs]

    monkeypatch.setattr(scoring, "_get_verifier", Tired)
    assert verified(DOC, [["\\boxed{9^{9^9}}"] * 2]) == {"no_answer": 0.0, "unscored": 1.0}


def test_an_answer_that_would_hang_a_parser_is_no_error():
    assert verified(DOC, [["\\boxed{9^{9^{9^{9^9}}}}", "\\boxed{\\frac12}"]])["accuracy"] == 0.5

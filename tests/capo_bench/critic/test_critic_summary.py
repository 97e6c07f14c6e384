"""Agreement and calibration from critiques, by hand; the figures that show them."""

from __future__ import annotations

import pytest
from controlcritics import alarmed, measured, oracle

from capo_bench.critic.embedded import ensure_embedded_folder
from capo_bench.critic.summary import lay_out_judged_steps, summarise, vote_calibration
from capo_bench.pages.critic import draw_figures
from capo_bench.store.home import Home
from capo_bench.study.identity import judge_key
from evals.critics.labels import StepLabels
from evals.critics.metrics import Bin, estimate_alpha
from trainers.credit.critique import Critique
from trainers.critics import CRITICS
from trainers.critics.exact import ExactParams

ABSTAINED = Critique(None, "timeout")
LABELS = [StepLabels(2, frozenset({1}), frozenset({0, 1})), StepLabels(2, frozenset(), frozenset({0}))]


def flagging(*steps: int) -> Critique:
    return Critique(frozenset(steps))


def test_agreement_is_over_all_steps_and_abstentions_are_missing():
    # Ratings of the four steps: 00, 11, 01, and 0 alone does not count: its solution has one verdict less.
    critiques = [[flagging(1), flagging(1)], [flagging(0), flagging()]]

    # Units 00, 11, 10, 00: n = 8, D_o = 2 pairs unlike / 8, D_e = 2 · 3 · 5 / (8 · 7): alpha = 1 - .25 · 56 / 30.
    def agreement(said):
        return estimate_alpha(*lay_out_judged_steps(said, LABELS).ratings()).value

    assert agreement(critiques) == pytest.approx(1 - 0.25 * 56 / 30)
    # Of the second solution one verdict is left, which agrees with nobody: units 00, 11 alone.
    assert agreement([critiques[0], [flagging(0), ABSTAINED]]) == 1
    assert agreement([[ABSTAINED, ABSTAINED]] * 2) is None


def test_calibration_is_over_labelled_steps_of_the_first_k():
    critiques = [[flagging(1), flagging(0, 1)], [flagging(1), ABSTAINED]]
    # k = 2: shares 1/2 (right) and 1 (wrong); of the second solution only step 0 is labelled, 0 of one vote.
    judged = lay_out_judged_steps(critiques, LABELS)
    found = vote_calibration(judged, 2)
    assert found.bins == (Bin(1, 0, 0), Bin(1, 0.5, 0), Bin(1, 1, 1))
    assert found.brier == pytest.approx(0.25 / 3)
    assert vote_calibration(judged, 1).error == 0


def test_a_solution_without_a_verdict_is_in_no_calibration():
    assert vote_calibration(lay_out_judged_steps([[ABSTAINED], [ABSTAINED]], LABELS), 1).steps == 0


def test_figures_say_in_words_what_they_show(tmp_path):
    def two_minds(solution, index):
        return alarmed(solution, index) if index % 2 else oracle(solution, index)

    summary = summarise(measured(two_minds, "coins", tmp_path, limit=40))
    curve, reliability = draw_figures(summary)
    assert "intersection of 4: precision 100.0 %, recall 100.0 %" in curve.alt
    (union,) = (row for row in summary.votes if (row["rule"], row["k"]) == ("union", 4))
    assert f"union of 4: precision {100 * union['precision']:.1f}" in curve.alt
    assert "50 % of votes: 0 % of" in reliability.alt
    assert "100 % of votes: 100 % of" in reliability.alt
    assert [figure.svg for figure in draw_figures(summary)] == [curve.svg, reliability.svg]  # the same bytes again


def test_a_critic_that_is_not_the_embedded_one_needs_no_folder(tmp_path):
    assert ensure_embedded_folder(ExactParams(), Home(tmp_path), print) is None
    assert not any(tmp_path.iterdir())


def test_an_embedded_critic_that_was_trained_is_taken(tmp_path):
    params = CRITICS.get("transformers").model_validate({"name": "transformers"})
    assert params.embedded_critic is not None
    folder = Home(tmp_path).stage("critic", judge_key(params.embedded_critic))
    folder.mkdir(parents=True)
    events: list[object] = []
    assert ensure_embedded_folder(params, Home(tmp_path), events.append) == folder
    assert events == []

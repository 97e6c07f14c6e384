"""Critics whose scores are known beforehand, on the real files."""

from __future__ import annotations

import pytest
from controlcritics import alarmed, measured, mute, oracle, silent

from capo_bench.critic.ask import CritiqueTerms
from capo_bench.critic.summary import CriticSummary, summarise
from evals.critics.metrics import ShareEstimate

FILES = ("processbench", "prm800k", "prmbench")


def rates(summary: CriticSummary, name: str) -> set[float | None]:
    return {row[name] for row in summary.votes}


@pytest.mark.parametrize("data", FILES)
def test_an_oracle_is_perfect_by_every_rule_and_k(data, benchmark_data, tmp_path):
    summary = summarise(measured(oracle, data, tmp_path, benchmark_data, limit=120))
    assert rates(summary, "precision") == rates(summary, "recall") == rates(summary, "f1") == {1.0}
    assert rates(summary, "false_alarm") == {0.0}
    assert summary.alpha == ShareEstimate(1, 1, 1)
    assert {row.error for row in summary.calibration.values()} == {0}


@pytest.mark.parametrize("data", FILES)
def test_a_critic_that_flags_everything_has_the_share_of_wrong_steps_as_precision(data, benchmark_data, tmp_path):
    summary = summarise(measured(alarmed, data, tmp_path, benchmark_data, limit=120))
    assert rates(summary, "recall") == rates(summary, "false_alarm") == {1.0}
    assert rates(summary, "precision") == {summary.wrong / summary.steps}
    assert summary.alpha == ShareEstimate(None)  # one value alone


@pytest.mark.parametrize("data", FILES)
def test_a_silent_critic_finds_nothing(data, benchmark_data, tmp_path):
    summary = summarise(measured(silent, data, tmp_path, benchmark_data, limit=120))
    assert rates(summary, "precision") == {None}
    assert rates(summary, "recall") == rates(summary, "f1") == {0.0}


@pytest.mark.parametrize(
    ("critic", "erroneous", "clean", "f1"), [(oracle, 1, 1, 1), (silent, 0, 1, 0), (mute, 0, 0, 0)]
)
def test_first_errors_of_processbench(critic, erroneous, clean, f1, benchmark_data, tmp_path):
    terms = CritiqueTerms(2, max_abstained=1)
    summary = summarise(measured(critic, "processbench", tmp_path, benchmark_data, terms))
    for row in summary.first_error:
        assert list(row["subsets"]) == ["gsm8k", "math", "olympiadbench", "omnimath", "mean"]
        for scores in row["subsets"].values():
            assert (scores.on_erroneous.value, scores.on_clean.value, scores.f1.value) == (erroneous, clean, f1)
            assert scores.unanswered == (scores.erroneous + scores.clean if critic is mute else 0)


def test_flagging_everything_finds_first_errors_at_the_first_step_alone(benchmark_data, tmp_path):
    found = measured(alarmed, "processbench", tmp_path, benchmark_data, subsets=("math",))
    (scores,) = summarise(found).first_error[0]["subsets"].values()
    erroneous = [solution for solution in found.solutions if solution.labels.wrong]
    at_once = sum(solution.labels.wrong == {0} for solution in erroneous)
    assert scores.on_erroneous.value == pytest.approx(at_once / len(erroneous))
    assert scores.on_clean.value == scores.f1.value == 0


def test_a_critic_that_names_the_last_step_too_is_right_about_the_first_error(benchmark_data, tmp_path):
    """Steps after the first wrong one have no label: flags there count neither for nor against."""

    def and_the_last(solution, index):
        critique = oracle(solution, index)
        return type(critique)(critique.wrong | {len(solution.steps) - 1} if critique.wrong else critique.wrong)

    summary = summarise(measured(and_the_last, "processbench", tmp_path, benchmark_data, limit=100))
    assert summary.first_error[0]["subsets"]["mean"].f1.value == 1
    assert rates(summary, "precision") == {1.0}


def test_votes_of_half_blind_critics(tmp_path):
    """Even critiques see the wrong steps, odd ones see none; the greedy one sees them: k = 1, 2, 4 by hand."""

    def every_other(solution, index):
        return silent(solution, index) if index % 2 and index > 0 else oracle(solution, index)

    summary = summarise(measured(every_other, "coins", tmp_path, limit=40))
    recall = {(row["rule"], row["k"]): row["recall"] for row in summary.votes}
    assert recall == {
        ("greedy", 1): 1,
        ("intersection", 1): 1, ("intersection", 2): 0, ("intersection", 4): 0,
        ("majority", 1): 1, ("majority", 2): 1, ("majority", 4): 1,
        ("union", 1): 1, ("union", 2): 1, ("union", 4): 1,
    }  # fmt: skip
    # Half of the votes for a wrong step, none for a right one: the error is half the share of wrong steps.
    share = summary.wrong / summary.steps
    assert summary.calibration[4].error == pytest.approx(share / 2)
    assert summary.calibration[4].brier == pytest.approx(share / 4)
    assert [(part.share, part.wrong) for part in summary.calibration[4].bins] == [(0, 0), (0.5, 1)]

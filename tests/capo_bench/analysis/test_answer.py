"""The answer, sentence by sentence, on summaries made by hand."""

import math
from dataclasses import replace

import pytest
from fakehome import FakeHome
from summaries import ACCURACY, BASE, around, cell, row, summary

from capo_bench.analysis.answer import answer
from capo_bench.analysis.power import Power
from capo_bench.analysis.sharpening import SharpeningEvidence, judge
from capo_bench.pages.report import Report, build_report


def test_a_difference_beyond_noise_beats_the_baseline():
    capo = row("capo", {ACCURACY: cell(0.673, 0.123, holm=0.0004)}, work=66, critic=900_000)
    assert answer(summary(BASE, capo)).headline == (
        "capo beats grpo_rule on coins_test/accuracy by +12.3 points (95 % interval +9.3 to +15.3, Holm p < 0.001, "
        "n = 3 seeds × 256 problems)."
    )
    assert answer(summary(BASE, capo)).details == (
        "Its cost: 1.10× the process time and 1.00× the policy tokens of grpo_rule, and 900,000 critic tokens a trial.",
    )


def test_a_difference_within_noise_is_called_so():
    capo = row("capo", {ACCURACY: cell(0.57, 0.02, holm=0.3)})
    assert answer(summary(BASE, capo)).headline == (
        "No difference beyond noise: no variant beats grpo_rule on coins_test/accuracy; nearest is capo, +2.0 points "
        "(95 % interval −1.0 to +5.0, Holm p = 0.300, n = 3 seeds × 256 problems)."
    )


@pytest.mark.parametrize(
    ("power", "told"),
    [
        (
            Power(0.081, 12, 700),
            "Too few seeds to tell: a difference of 8.1 points would have been detected with 80 % power; 12 seeds "
            "would be needed for the observed one.",
        ),
        (
            Power(0.081, 31, 700),
            "A difference of 8.1 points would have been detected with 80 % power; 31 seeds would be needed for the "
            "observed one.",
        ),
        (
            Power(0.081, math.inf, 1700),
            "A difference of 8.1 points would have been detected with 80 % power; no number of seeds would do for the "
            "observed one on so few problems, but 1,700 problems with these seeds.",
        ),
        (
            Power(0.081, math.inf, math.inf),
            "A difference of 8.1 points would have been detected with 80 % power; no number of seeds would do for the "
            "observed one on so few problems, nor would more problems with these seeds.",
        ),
        (
            Power(1.64, 9, math.inf),
            "Too few seeds to tell: no possible difference would have been detected with 80 % power; 9 seeds would be "
            "needed for the observed one.",
        ),
    ],
)
def test_what_is_within_noise_says_what_could_have_been_seen(power, told):
    first = row("first", {ACCURACY: replace(cell(0.57, 0.02, holm=0.3), power=power)})
    second = row("second", {ACCURACY: replace(cell(0.56, 0.01, holm=0.5), power=power)})
    found = answer(summary(BASE, first, second))
    assert found.details[1] == told
    assert found.comparisons[0].startswith("second: no difference to grpo_rule beyond noise, ")
    assert "power" not in found.comparisons[0]  # of the others the table says it


@pytest.mark.parametrize(
    ("power", "profile", "told"),
    [
        (
            Power(0.18, 40, 900, target_seeds=9, target_problems=800),
            "quick",
            "only differences from 18.0 points on would have been seen, and 9 seeds would show 10.0 points: "
            "`capo-bench run s --set seeds=9`.",
        ),
        (
            Power(0.18, 40, 900, target_seeds=31, target_problems=800),
            "full",
            "only differences from 18.0 points on would have been seen, and 800 problems would show 10.0 points: "
            "`capo-bench run s --profile full --set evaluation.problems=800`.",
        ),
        (
            Power(1.64, 9, math.inf),
            "quick",
            "nothing would have been seen, and neither 30 seeds nor more problems alone would show 10.0 points.",
        ),
    ],
)
def test_a_study_that_could_not_see_ten_points_says_so_first_and_gives_the_command_that_would(power, profile, told):
    capo = row("capo", {ACCURACY: replace(cell(0.57, 0.02, holm=0.3), power=power)})
    headline = answer(summary(BASE, capo, profile=profile)).headline
    assert headline == (
        "Too few seeds or problems to tell: no variant beats grpo_rule on coins_test/accuracy, nearest is capo, +2.0 "
        f"points (95 % interval −1.0 to +5.0, Holm p = 0.300, n = 3 seeds × 256 problems); {told}"
    )


def test_what_is_beyond_noise_does_not():
    capo = row("capo", {ACCURACY: replace(cell(0.67, 0.12, holm=0.01), power=Power(0.2, 9, 900))})
    assert "power" not in answer(summary(BASE, capo)).headline


def test_exactly_at_the_limit_is_noise():
    capo = row("capo", {ACCURACY: cell(0.6, 0.05, holm=0.05)})
    assert answer(summary(BASE, capo)).headline.startswith("No difference beyond noise")


def test_the_best_among_those_beyond_noise_leads_not_the_largest_mean():
    lucky = row("lucky", {ACCURACY: cell(0.70, 0.15, holm=0.2)})
    steady = row("steady", {ACCURACY: cell(0.65, 0.10, holm=0.01)})
    second = row("second", {ACCURACY: cell(0.60, 0.05, holm=0.02)})
    worse = row("worse", {ACCURACY: cell(0.40, -0.15, holm=0.01)})
    found = answer(summary(BASE, lucky, worse, second, steady))
    assert found.headline.startswith("steady beats grpo_rule")
    assert [line.split(" by ")[0].split(",")[0] for line in found.comparisons] == [
        "second also beats grpo_rule",
        "lucky: no difference to grpo_rule beyond noise",
        "worse is worse than grpo_rule",
    ]


def test_who_is_behind_beyond_noise_is_named_where_nobody_is_ahead():
    behind = row("behind", {ACCURACY: cell(0.44, -0.06, holm=0.01)})
    within = row("within", {ACCURACY: cell(0.45, -0.05, holm=0.60)})
    found = answer(summary(BASE, behind, within))
    assert found.headline.startswith(
        "Beyond noise, no variant beats grpo_rule on coins_test/accuracy, and behind is worse; nearest is within, −5.0 "
    )
    assert found.comparisons[0].startswith("behind is worse than grpo_rule")


def test_the_nearest_may_be_behind_beyond_noise_and_then_seeds_are_not_wanting():
    behind = row("behind", {ACCURACY: replace(cell(0.44, -0.06, holm=0.01), power=Power(0.05, 5, 300))})
    found = answer(summary(BASE, behind)).headline
    assert found.startswith(
        "Beyond noise, no variant beats grpo_rule on coins_test/accuracy, and behind is worse; nearest"
    )
    assert "No difference" not in found
    assert "Too few seeds" not in found


def test_lower_is_better_where_it_is():
    metric = "coins_test/wrong_step_rate"
    base = row("grpo_rule", {metric: cell(0.3)})
    fewer = row("fewer", {metric: cell(0.2, -0.1, holm=0.001)})
    more = row("more", {metric: cell(0.4, 0.1, holm=0.001)})
    found = answer(summary(base, more, fewer, metrics=(metric,)))
    assert found.headline.startswith("fewer beats grpo_rule on coins_test/wrong_step_rate by −10.0 points")
    assert found.comparisons[0].startswith("more is worse than grpo_rule by +10.0 points")


def test_a_metric_that_only_describes_never_beats():
    metric = "coins_test/steps"
    base = row("grpo_rule", {metric: cell(6.0)})
    found = answer(summary(base, row("capo", {metric: cell(5.0, -1.0, holm=0.001)}), metrics=(metric,)))
    assert "beats" not in found.headline.replace("no variant beats", "")


def test_with_one_seed_nothing_is_decided():
    one = {"seeds": 1}
    base = row("grpo_rule", {ACCURACY: cell(0.5, **one)}, seeds=1)
    capo = row("capo", {ACCURACY: cell(0.7, 0.2, holm=0.0001, **one)}, seeds=1)
    other = row("other", {ACCURACY: cell(0.6, 0.1, holm=0.0001, **one)}, seeds=1)
    found = answer(summary(base, capo, other))
    assert found.headline.startswith(
        "One seed decides nothing, as seed noise is unknown: capo is ahead of grpo_rule on coins_test/accuracy, +20.0 "
        "points (95 % interval +17.0 to +23.0, Holm p < 0.001, n = 1 seed × 256 problems); 5 seeds would tell: "
        "`capo-bench run s --set seeds=5`."
    )
    assert found.comparisons[0].endswith("one seed, so seed noise is unknown.")
    assert "One seed: seed noise unknown. Its intervals cover the draw of problems only." in found.cautions


def test_few_seeds_are_a_caution_and_many_are_not():
    assert any("Few seeds" in line for line in answer(summary(BASE)).cautions)
    many = replace(BASE, seeds=(0, 1, 2, 3, 4))
    assert answer(summary(many)).cautions == ()


@pytest.mark.parametrize(("change", "told"), [(-0.8, "fewer"), (0.8, "more")])
def test_a_change_of_length_is_a_caution(change, told):
    steps = {"coins_test/steps": cell(6.0 + change, change, holm=0.001)}
    found = answer(summary(BASE, row("capo", {ACCURACY: cell(0.6, 0.05, holm=0.2), **steps})))
    line = next(line for line in found.cautions if "steps per response" in line)
    sign = "−" if change < 0 else "+"
    assert line.startswith(f"capo writes {told} steps per response than grpo_rule: {sign}0.80 (95 % interval ")
    assert ("writing less" in line) == (change < 0)


def test_a_change_of_length_within_noise_is_not():
    steps = {"coins_test/steps": cell(5.9, -0.1, holm=0.6)}
    found = answer(summary(BASE, row("capo", {ACCURACY: cell(0.6), **steps})))
    assert not any("steps per response" in line for line in found.cautions)


def test_abstentions_and_unscored_samples_are_cautions():
    odd = replace(row("capo", {ACCURACY: cell(0.6)}), failed_critiques=0.125, unscored=0.02)
    found = answer(summary(BASE, odd)).cautions
    assert "Critiques that abstained and gave no signal: capo 12.5 %." in found
    assert any(
        "at most, that were not scored and are left out: capo 2.0 %. If all of them are wrong" in line for line in found
    )


def test_a_budget_that_was_not_spent_is_a_caution():
    short = replace(row("capo", {ACCURACY: cell(0.6)}), unspent=1)
    assert answer(summary(BASE, short)).cautions[-1] == (
        "Not compute-matched: capo (1 of 3 trials) took all of train.steps before the budget was spent."
    )


def test_a_tie_is_a_tie():
    level = cell(0.0, 0.0, holm=1.0, seeds=1)
    found = answer(summary(replace(BASE, seeds=(0,)), row("capo", {ACCURACY: level}, seeds=1))).headline
    assert found.startswith(
        "One seed decides nothing, as seed noise is unknown: capo is equal to grpo_rule on coins_test/accuracy, +0.0"
    )
    tied = [row(name, {ACCURACY: cell(0.55, 0.0, holm=1.0)}) for name in ("capo", "other")]
    told = answer(summary(BASE, *tied))
    assert "equal is capo, +0.0 points" in told.headline
    assert told.comparisons[0].startswith("other: equal to grpo_rule, +0.0 points")


def test_one_seed_that_is_behind_is_not_called_ahead():
    behind = cell(0.4, -0.15, holm=0.01, seeds=1)
    found = answer(summary(replace(BASE, seeds=(0,)), row("capo", {ACCURACY: behind}, seeds=1))).headline
    assert "capo is behind grpo_rule on coins_test/accuracy, −15.0 points" in found


def test_a_gain_that_is_only_sharpening_is_in_the_details_and_the_first_caution():
    perfect = SharpeningEvidence(around(0.28, 0.03), around(-0.08, 0.03), around(-0.05, 0.03), {8: around(0.0, 0.03)})
    best = row("capo", {ACCURACY: cell(0.7, 0.15, holm=0.001)})
    found = answer(summary(BASE, best, start="cold_start", sharpening={"capo": judge(perfect)}))
    assert found.details[-1] == (
        "Its gain over cold_start is only sharpening: the start's greedy answers are better than its greedy ones."
    )
    assert found.cautions[0] == (
        "capo: only sharpening; the start's greedy answers are better than its greedy ones. "
        "Over cold_start: avg@8 +28.0 [+25.0, +31.0] points (n = 3 × 256); "
        "greedy −8.0 [−11.0, −5.0] points (n = 3 × 256); "
        "greedy minus the start's maj@8 −5.0 [−8.0, −2.0] points (n = 3 × 256); "
        "pass@8 +0.0 [−3.0, +3.0] points (n = 3 × 256)."
    )


def test_a_gain_that_is_more_is_said_in_the_details_and_is_no_caution():
    learned = SharpeningEvidence(around(0.3, 0.03), around(0.6, 0.03), around(0.6, 0.03), {8: around(0.1, 0.03)})
    best = row("capo", {ACCURACY: cell(0.7, 0.15, holm=0.001)})
    found = answer(summary(BASE, best, start="cold_start", sharpening={"capo": judge(learned)}))
    assert "Its gain over cold_start is more than sharpening: its greedy answers beat" in found.details[-1]
    assert not any("sharpening" in line for line in found.cautions)


def test_what_was_not_picked_is_said(fake: FakeHome):
    fake.finish()
    found = build_report(fake.plan(only=["grpo_rule", "majority"]), fake.home).answer
    assert "Only a part of the study was picked; left out: cold_start, intersection." in found.cautions


def test_a_study_without_a_finished_trial_has_no_answer():
    empty = replace(BASE, seeds=(), cells={})
    found = answer(summary(empty, missing=(("grpo_rule", 0, "ab"), ("grpo_rule", 1, "cd"))))
    assert found.headline == "No answer yet: none of the 2 trials of this study has finished."


def test_without_the_baseline_there_is_no_comparison(fake: FakeHome):
    fake.finish("majority")
    found = build_report(fake.plan(), fake.home).answer
    assert found.headline == "No comparison yet: the baseline grpo_rule has no finished trial."
    assert "Partly finished: 9 of 12 trials are missing." in found.cautions


def test_without_a_shared_seed_there_is_no_comparison(fake: FakeHome):
    fake.finish("grpo_rule", seeds=(0,)).finish("majority", seeds=(1,))
    found = build_report(fake.plan(), fake.home).answer
    assert found.headline == "No comparison yet: no other variant shares a finished seed with the baseline grpo_rule."


def test_the_answer_of_a_study_with_a_known_truth(report: Report):
    assert report.answer.headline.startswith("intersection beats grpo_rule on coins_test/accuracy by +")
    assert report.answer.comparisons[0].startswith("majority: no difference to grpo_rule beyond noise")
    assert any(line.startswith("majority writes fewer steps") for line in report.answer.cautions)

"""``capo-bench credit``."""

from __future__ import annotations

import click

from capo_bench.cli.options import add_study_options, choose_plan
from capo_bench.cli.printing import print_json, print_page
from capo_bench.run.studies import StudyChoice
from capo_bench.store.home import Home

EPILOG = """\b
Exit codes:
  0    written
  2    bad input, or nothing to measure

\b
Examples:
  capo-bench credit voting
  capo-bench credit voting --seeds 3 --samples 400
  capo-bench credit 3fa2 --rollouts 32 --bound 0.2
"""


@click.command(epilog=EPILOG)
@add_study_options
@click.option(
    "--seeds",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Number of seeds of each variant, from the first.",
)
@click.option("--samples", type=click.IntRange(2), default=200, show_default=True, help="Continuations of each state.")
@click.option(
    "--rollouts", type=click.IntRange(1), default=64, show_default=True, help="Most rollouts of an optimizer step."
)
@click.option(
    "--bound", type=click.FloatRange(0, 1), default=0.1, show_default=True, help="A step matters if its |A| is larger."
)
def credit(  # noqa: PLR0913, PLR0917 - one argument an option
    chosen: StudyChoice,
    seeds: int,
    samples: int,
    rollouts: int,
    bound: float,
    home: Home,
    as_json: bool,
) -> None:
    """Measure the credit of every method, vote and k against the true advantages of steps, on stored rollouts.

    The true advantage of a step is its change of the chance of a right answer. It is counted over sampled
    continuations: of the start for rollouts of the first optimizer step, of the trained policy for those of the last.
    STUDY is a study in the results folder, or the id of a trial or its beginning. Counts are kept: a second call does
    not repeat them.
    """
    from capo_bench.credit.measure import FidelityRequest, measure_trials
    from capo_bench.credit.write import summarise_fidelity, write_fidelity
    from capo_bench.pages.fidelity import build_fidelity_page
    from capo_bench.run.meter import open_meter

    plan, trial = choose_plan(chosen, home)
    folder = trial.path / "credit" if trial else home.study(plan.study).profile(plan.profile).credit
    first = list(dict.fromkeys(each.seed for each in plan.trials))[:seeds]
    trials = [each for each in plan.trials if each.seed in first]
    with open_meter("counting") as tell:
        measured, left_out = measure_trials(trials, home, FidelityRequest(samples, rollouts), tell)
    summary = summarise_fidelity(measured, plan, home, bound, left_out)
    page = build_fidelity_page(summary, plan.study, plan.metrics[0] if plan.metrics else "the metric")
    paths = write_fidelity(summary, measured, page, folder)
    if as_json:
        print_json(summary)
        return
    print_page(page)
    for path in paths:
        click.echo(str(path))

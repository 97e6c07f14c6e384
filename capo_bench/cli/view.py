"""``capo-bench view``."""

from __future__ import annotations

from pathlib import Path

import click

from capo_bench.cli.options import add_study_options, choose_plan
from capo_bench.cli.printing import print_json
from capo_bench.run.studies import StudyChoice
from capo_bench.store.home import Home

EPILOG = """\b
Exit codes:
  0    written; its path is printed
  2    bad input, or nothing to view

\b
Examples:
  capo-bench view voting
  capo-bench view voting --only 'vote=union' --only seed=0
  capo-bench view 3fa2 --out rollouts.html
"""


@click.command(epilog=EPILOG)
@add_study_options
@click.option(
    "--most", type=click.IntRange(1), default=50_000, show_default=True, help="Approximate limit of rollouts."
)
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="File.  [default: one in the results folder]"
)
def view(
    chosen: StudyChoice,
    most: int,
    out: Path | None,
    home: Home,
    as_json: bool,
) -> None:
    """Write one page with all stored rollouts of STUDY: filters, search, critiques, the credit of each token.

    STUDY is a study's file or name, or a trial, even one that is training: its id or its beginning, or its folder. The
    page first shows one problem before and after training, side by side, if training used a problem twice; else the
    rollouts on which critiques disagree most, at the beginning and at the end. It is one file that needs no network.
    """
    from capo_bench.pages.rollouts import write_rollouts
    from capo_bench.run.meter import open_meter

    plan, trial = choose_plan(chosen, home)
    if trial is None:
        trials = [(each, home.trial(each.id)) for each in plan.trials if home.trial(each.id).done]
        place = home.study(plan.study).profile(plan.profile).report / "rollouts.html"
    else:
        trials, place = [(plan.trials[0], trial)], home.view(plan.trials[0].id)
    with open_meter("reading") as on_step:
        path = write_rollouts(plan.study, trials, out or place, most=most, on_step=on_step)
    if as_json:
        print_json({"version": 1, "trials": [trial.id for trial, _ in trials], "page": str(path)})
    else:
        click.echo(str(path))

"""``capo-bench view``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from capo_bench.cli.options import add_home_option, add_json_option, add_study_options
from capo_bench.cli.printing import print_json
from capo_bench.run.studies import plan_as_run

if TYPE_CHECKING:
    from capo_bench.store.home import Home, TrialFolder
    from capo_bench.study.plan import Trial

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
@add_home_option
@add_json_option
def view(  # noqa: PLR0913, PLR0917 - one argument an option
    study: str,
    profile: str | None,
    sets: tuple[str, ...],
    only: tuple[str, ...],
    most: int,
    out: Path | None,
    home: Path,
    as_json: bool,
) -> None:
    """Write one page with all stored rollouts of STUDY: filters, search, critiques, the credit of each token.

    STUDY is a study's file or name, or a trial, even one that is training: its id or its beginning, or its folder. The
    page first shows one problem before and after training, side by side, if training met any twice; else the rollouts
    on which critiques disagree most, at the beginning and at the end. It is one file that needs no network.
    """
    from capo_bench.cli import Refused
    from capo_bench.pages.rollouts import NoRolloutsError, write_rollouts
    from capo_bench.run.meter import bar
    from capo_bench.store.errors import RunError
    from capo_bench.store.home import Home
    from capo_bench.store.records import DamagedFileError

    try:
        title, trials, place = _choose(Home(home), study, profile, sets, only)
        with bar("reading") as on_step:
            path = write_rollouts(title, trials, out or place, most=most, on_step=on_step)
    except (NoRolloutsError, DamagedFileError, RunError) as error:
        raise Refused(error) from error
    if as_json:
        print_json({"version": 1, "trials": [trial.id for trial, _ in trials], "page": str(path)})
    else:
        click.echo(str(path))


def _choose(
    home: Home, name: str, profile: str | None, sets: tuple[str, ...], only: tuple[str, ...]
) -> tuple[str, list[tuple[Trial, TrialFolder]], Path]:
    """Return the title, the trials and the page's path for the name of a study or a trial."""
    from capo_bench.analysis.diff import UnknownTrialError, find_trial, read_trial
    from capo_bench.study.errors import StudyErrors

    try:
        folder = find_trial(home, name)
    except UnknownTrialError as no_trial:
        try:
            plan = plan_as_run(name, profile, sets, only, home)
        except StudyErrors as errors:
            if not Path(name).exists() and re.fullmatch(r"[0-9a-f]+", name):
                raise click.UsageError(str(no_trial)) from errors
            raise
        done = [(trial, home.trial(trial.id)) for trial in plan.trials if home.trial(trial.id).done]
        return plan.study, done, home.study(plan.study).profile(plan.profile).report / "rollouts.html"
    if sets or only:
        raise click.UsageError(f"{name!r} is a trial; --set and --only choose from a study")
    trial = read_trial(folder)
    return f"{trial.variant}, seed {trial.seed}", [(trial, folder)], home.view(trial.id)

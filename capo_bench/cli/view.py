"""``capo-bench view``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from capo_bench.cli.options import home_option, study_options

if TYPE_CHECKING:
    from capo_bench.home import Home
    from capo_bench.view.view import Chosen

EPILOG = """\b
Exit codes:
  0    written; its path is printed
  2    bad input, or nothing to view

\b
Examples:
  capo-bench view voting
  capo-bench view 3fa2 --pick worst --most 6
  capo-bench view 3fa2 --step 40 --pick random
  capo-bench view 3fa2 --rollout 1:17 --rollout 40:3 --out credit.html
  capo-bench view 3fa2 --problem coins/train/0/5
"""


class _Where(click.ParamType[Any]):
    """``STEP:PLACE``, both from 1."""

    name = "STEP:PLACE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        match = re.fullmatch(r"([1-9]\d{0,8}):([1-9]\d{0,8})", str(value))
        if match is None:
            self.fail(f"{value!r}: write the optimizer step and the rollout's place in it, both from 1, as in 40:3")
        return int(match[1]), int(match[2])


@click.command(epilog=EPILOG)
@study_options
@click.option("--rollout", "rollouts", type=_Where(), multiple=True, help="This rollout (repeatable).")
@click.option("--problem", metavar="ID", help="Rollouts of this problem, the first and the last ones.")
@click.option("--step", type=click.IntRange(1), help="Only rollouts of this optimizer step.")
@click.option(
    "--pick",
    type=click.Choice(["interesting", "random", "worst"]),
    default="interesting",
    show_default=True,
    help="One of each kind, early and late; drawn at random; lowest mean advantage.",
)
@click.option("--most", type=click.IntRange(1, 200), default=12, show_default=True, help="Rollouts at most.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="File; else one under the results folder.")
@home_option
def view(  # noqa: PLR0913, PLR0917 - one argument an option
    study: str,
    profile: str,
    sets: tuple[str, ...],
    only: tuple[str, ...],
    rollouts: tuple[tuple[int, int], ...],
    problem: str | None,
    step: int | None,
    pick: Any,
    most: int,
    out: Path | None,
    home: Path,
) -> None:
    """Show rollouts with their steps shaded by votes or scores, and what their tokens earned, on one page.

    STUDY is a study's file or name, or a trial: its id, the beginning of one, or its folder. Of a study the best
    variant with critiques of steps, or with scores of a process reward model, is shown, its first seed, and the same
    problems before and after training; --only names another. Picks are the same whenever it is run. The page is one
    file that needs no network.
    """
    from capo_bench.cli import Refused
    from capo_bench.home import Home
    from capo_bench.report.collect import DamagedFileError
    from capo_bench.view.pick import Wish
    from capo_bench.view.view import NothingToViewError, write_view

    if rollouts and (problem is not None or step is not None):
        raise click.UsageError("--rollout names the rollouts; give it without --problem and --step")
    wish = Wish(pick, most, step, problem, rollouts)
    try:
        chosen = _chosen(Home(home), study, profile, sets, only)
        path = write_view(chosen, wish, out or Home(home).view(chosen.trial.id))
    except (NothingToViewError, DamagedFileError) as error:
        raise Refused(error) from error
    click.echo(str(path))


def _chosen(home: Home, name: str, profile: str, sets: tuple[str, ...], only: tuple[str, ...]) -> Chosen:
    """Return the trial that a study or a trial's name stands for."""
    from capo_bench.report.collect import collect
    from capo_bench.report.diff import UnknownTrialError, find_trial
    from capo_bench.study.errors import StudyErrors
    from capo_bench.study.load import load_plan
    from capo_bench.view.view import choose, chosen_trial

    try:
        found = find_trial(home, name)
    except UnknownTrialError as no_trial:
        try:
            plan = load_plan(name, profile, sets, only)
        except StudyErrors as errors:
            if not Path(name).exists() and re.fullmatch(r"[0-9a-f]+", name):
                raise click.UsageError(str(no_trial)) from errors
            raise
        return choose(collect(plan, home, digests=home.digests))
    if sets or only:
        raise click.UsageError(f"{name!r} is a trial; --set and --only choose from a study")
    return chosen_trial(found)

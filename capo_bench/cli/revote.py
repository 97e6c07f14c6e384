"""``capo-bench revote``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import click

from capo_bench.cli.options import add_study_options, choose_plan
from capo_bench.cli.printing import print_json, print_page
from capo_bench.run.studies import StudyChoice
from capo_bench.store.home import Home, read_json

if TYPE_CHECKING:
    from capo_bench.revote.study import RevoteRequest

EPILOG = """\b
Exit codes:
  0    written
  2    bad input, or nothing to replay

\b
Examples:
  capo-bench revote voting
  capo-bench revote voting --weights 2,1 --weights 2,0.5 -k 1,2,4
  capo-bench revote 3fa2 --rules majority,at_least:3
"""

T = TypeVar("T")


@click.command(epilog=EPILOG)
@add_study_options
@click.option("--weights", "weights", multiple=True, metavar="WHOLE,PROCESS", help="Weights to apply (repeatable).")
@click.option("-k", "ks", metavar="K,K…", help="Numbers of critiques to vote over.")
@click.option("--rules", metavar="RULE,RULE…", help="Voting rules, such as majority,at_least:2.")
def revote(  # noqa: PLR0913, PLR0917 - one argument an option
    chosen: StudyChoice,
    weights: tuple[str, ...],
    ks: str | None,
    rules: str | None,
    home: Home,
    as_json: bool,
) -> None:
    """Apply other votes, k and weights to the critiques that STUDY's training stored, without a model.

    Shows how labels, token rewards and advantages differ from those of training, and how close each rule is to the
    exact labels. STUDY is the name or file of a study in the results folder, as it was last run, or the id of a trial
    or its beginning. Writes revote.csv, revote.json and a page into the folder of the study's, or of the trial's,
    results.
    """
    from capo_bench.pages.revote import replay_page, write_replay
    from capo_bench.revote.study import replay_study
    from capo_bench.run.meter import open_meter

    wanted = _read_wanted(weights, ks, rules)
    plan, trial = choose_plan(chosen, home)
    folder = trial.path / "revote" if trial else home.study(plan.study).profile(plan.profile).revote
    with open_meter("replaying") as on_step:
        replay = replay_study(plan, home, wanted, on_step)
    paths = write_replay(replay, folder)
    if as_json:
        print_json(read_json(paths[1]))
        return
    print_page(replay_page(replay))
    for path in paths[:3]:
        click.echo(str(path))


def _read_wanted(weights: tuple[str, ...], ks: str | None, rules: str | None) -> RevoteRequest:
    from capo_bench.revote.setting import parse_vote, parse_weights
    from capo_bench.revote.study import RevoteRequest

    return RevoteRequest(
        votes=None if rules is None else tuple(_read("--rules", parse_vote, name) for name in rules.split(",")),
        ks=None if ks is None else tuple(_read("-k", _read_critiques, number) for number in ks.split(",")),
        weights=tuple(_read("--weights", parse_weights, pair) for pair in weights) or None,
    )


def _read(option: str, parse: Callable[[str], T], text: str) -> T:
    try:
        return parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from error


def _read_critiques(text: str) -> int:
    if not text.strip().isdecimal() or int(text) < 1:
        raise ValueError(f"{text!r} is no number of critiques; give whole numbers from 1, such as 1,2,4")
    return int(text)

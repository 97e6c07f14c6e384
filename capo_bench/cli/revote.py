"""``capo-bench revote``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from capo_bench.cli.bar import bar
from capo_bench.cli.options import home_option, study_options

if TYPE_CHECKING:
    from capo_bench.replay.rows import Row
    from capo_bench.replay.study import StudyReplay, Wanted
    from capo_bench.study.plan import Plan

EPILOG = """\b
Exit codes:
  0    written
  2    bad input, or nothing to replay

\b
Examples:
  capo-bench revote voting
  capo-bench revote voting --weights 2,1 --weights 2,0.5 -k 1,2,4
  capo-bench revote voting --rules majority,at_least:3 --trial 3fa2
"""

T = TypeVar("T")


@click.command(epilog=EPILOG)
@study_options
@click.option("--trial", metavar="ID", help="Only this trial: its id, or the beginning of it.")
@click.option("--weights", "weights", multiple=True, metavar="WHOLE,PROCESS", help="Weights to replay (repeatable).")
@click.option("-k", "ks", metavar="K,K…", help="Numbers of critiques to vote over.")
@click.option("--rules", metavar="RULE,RULE…", help="Voting rules; at_least with its number: at_least:2.")
@home_option
def revote(  # noqa: PLR0913, PLR0917 - one argument an option
    study: str,
    profile: str,
    sets: tuple[str, ...],
    only: tuple[str, ...],
    trial: str | None,
    weights: tuple[str, ...],
    ks: str | None,
    rules: str | None,
    home: Path,
) -> None:
    """Replay other votes, k and weights on the critiques that STUDY's training stored, without a model.

    Shows how labels, token rewards and advantages would have differed from those of training, and how near each rule
    comes to the exact labels. STUDY is a file, or the name of a shipped study; give --profile and --set as they were
    run. Writes revote.csv, revote.json and revote.html into the study's folder of results.
    """
    from capo_bench.cli import Refused
    from capo_bench.home import Home
    from capo_bench.replay.rows import rows
    from capo_bench.replay.study import NothingToReplayError, replay_study
    from capo_bench.replay.write import write_replay
    from capo_bench.report.collect import DamagedFileError
    from capo_bench.study.load import load_plan

    wanted = _wanted(weights, ks, rules)
    plan = load_plan(study, profile, sets, only)
    plan = plan if trial is None else _only_trial(plan, trial)
    try:
        with bar("replaying", "steps") as on_step:
            replay = replay_study(plan, Home(home), wanted, on_step)
    except (NothingToReplayError, DamagedFileError) as error:
        raise Refused(error) from error
    found = rows(replay)
    paths = write_replay(replay, found, Home(home).study(plan.study).path / "revote")
    _show(replay, found)
    for path in paths:
        click.echo(str(path))


def _wanted(weights: tuple[str, ...], ks: str | None, rules: str | None) -> Wanted:
    from capo_bench.replay.setting import parse_vote, parse_weights
    from capo_bench.replay.study import Wanted

    return Wanted(
        votes=None if rules is None else tuple(_read("--rules", parse_vote, name) for name in rules.split(",")),
        ks=None if ks is None else tuple(_read("-k", _critiques, number) for number in ks.split(",")),
        weights=tuple(_read("--weights", parse_weights, pair) for pair in weights) or None,
    )


def _read(option: str, parse: Callable[[str], T], text: str) -> T:
    try:
        return parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from error


def _critiques(text: str) -> int:
    if not text.strip().isdecimal() or int(text) < 1:
        raise ValueError(f"{text!r} is no number of critiques; give whole numbers from 1, such as 1,2,4")
    return int(text)


def _only_trial(plan: Plan, beginning: str) -> Plan:
    from dataclasses import replace

    found = [trial for trial in plan.trials if trial.id.startswith(beginning)]
    if len(found) != 1:
        known = ", ".join(trial.id for trial in found or plan.trials)
        raise click.BadParameter(
            f"{beginning!r} is the beginning of {len(found)} ids of the study; give one of {known}",
            param_hint="--trial",
        )
    return replace(plan, trials=tuple(found))


def _show(replay: StudyReplay, found: Sequence[Row]) -> None:
    from rich.console import Console

    from capo_bench.replay.show import check_lines, notes, replay_tables
    from capo_bench.report.tables import plain, terminal

    # Where no terminal says how wide it is, tables get the room that they need.
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 200)
    for table in replay_tables(found):
        console.print(terminal(table), "")
    for line in (*check_lines(replay), *notes(replay)):
        console.print(plain(line))
    console.print()

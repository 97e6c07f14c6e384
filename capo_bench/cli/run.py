"""``capo-bench run``."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from capo_bench.cli.options import add_study_options, read_duration, read_size, read_stage_limit
from capo_bench.cli.printing import print_json
from capo_bench.run.studies import StudyChoice, find_study_file, plan_of_file
from capo_bench.store.home import Home

if TYPE_CHECKING:
    from capo_bench.pages.report import Report
    from capo_bench.run.runner import RunOptions
    from capo_bench.run.session import RunResult
    from capo_bench.study.last_plan import RunRequest
    from capo_bench.study.plan import Plan

EPILOG = """\b
Exit codes:
  0    all trials are done
  1    a trial failed (the others are done)
  2    bad input, the study is running already, or a folder cannot be written
  3    stopped by a limit: too many failures, or the disk is nearly full
  129  the terminal was closed; 130 interrupted by Ctrl-C; 143 by SIGTERM
After 3 and above, running trials have saved; the same command resumes.

\b
Examples:
  capo-bench run voting
  capo-bench run my-study.yaml --profile full --workers 4 --home results
  capo-bench run voting --only exact --only seed=0 --set train.steps=20
  capo-bench run voting --timeout train=2h --timeout generate=30m --keep-going
  capo-bench run voting --executor ray --address auto --home /shared/results
"""


@click.command(epilog=EPILOG)
@add_study_options
@click.option(
    "--workers",
    type=click.IntRange(1),
    help="Number of trials at a time.  [default: one for each core, or as many as the GPUs hold]",
)
@click.option("--max-failures", type=click.IntRange(1), help="Stop after this number of failed trials.  [default: 10]")
@click.option("--fail-fast", is_flag=True, help="Stop at the first trial that fails.")
@click.option("--keep-going", is_flag=True, help="Never stop because of failed trials.")
@click.option(
    "--retries",
    type=click.IntRange(0),
    default=2,
    show_default=True,
    help="Retries after a temporary failure: a lost process or machine, out of memory in training (with half the "
    "micro-batch), an endpoint that is down.",
)
@click.option(
    "--timeout",
    "timeouts",
    type=read_stage_limit,
    multiple=True,
    callback=lambda ctx, param, limits: dict(limits),
    metavar="STAGE=TIME",
    help="Longest time of a trial's stage, as in train=2h; repeatable.",
)
@click.option(
    "--checkpoint-every",
    "checkpoint_seconds",
    type=read_duration,
    default="5m",
    show_default=True,
    metavar="TIME",
    help="Time between checkpoints of training; 0: after every step.",
)
@click.option(
    "--grace",
    type=read_duration,
    metavar="TIME",
    help="After a signal, end trials that have not saved within this time.",
)
@click.option(
    "--min-free",
    type=read_size,
    default="1GiB",
    show_default=True,
    metavar="SIZE",
    help="Stop when less than this is free on the disk of HOME.",
)
@click.option(
    "--executor",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Processes of this machine, or a Ray cluster whose nodes share HOME.",
)
@click.option("--address", help="Address of the Ray cluster: auto, or HOST:PORT.  [default: Ray on this machine only]")
@click.option("--no-tracking", is_flag=True, help="Write nothing to MLflow.")
@click.option("--no-critique-cache", is_flag=True, help="Neither store critiques nor use stored ones.")
@click.option(
    "--critique-cache-size",
    type=read_size,
    metavar="SIZE",
    help="Limit of the critique cache, from now on, for all runs in HOME.  [default: unchanged; at first 2GiB]",
)
def run(  # noqa: PLR0913, PLR0917 - one parameter per option
    chosen: StudyChoice,
    home: Home,
    max_failures: int | None,
    fail_fast: bool,
    keep_going: bool,
    no_tracking: bool,
    no_critique_cache: bool,
    critique_cache_size: int | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Run the trials of STUDY that are not done yet, and answer its question.

    STUDY is a file, or the name of a study: a shipped one, or one in the results folder. Trials run in parallel and
    share the processor's cores. A study with looks runs until its question is answered.

    Run it again to resume: finished trials are kept, stopped ones resume from their checkpoint. The first Ctrl-C lets
    running trials save, the second ends at once.
    """
    from capo_bench.analysis.answer import build_tracked_answer
    from capo_bench.run.runner import RunOptions
    from capo_bench.study.data import check_rows
    from capo_bench.study.last_plan import RunRequest
    from capo_bench.study.load import read_study_text

    failures = _limit_failures(max_failures, fail_fast, keep_going)
    options = RunOptions(max_failures=failures, track=not no_tracking, **given)
    if options.executor == "local" and options.address:
        raise click.UsageError("--address is for a Ray cluster: add --executor ray, or leave it out")
    home = replace(home, keep_critiques=not no_critique_cache)
    try:
        plan = plan_of_file(chosen, home)
        whole = plan_of_file(replace(chosen, only=()), home) if chosen.only else plan
        text = read_study_text(find_study_file(chosen.word, chosen.profile, home))
        _bound_critiques(home, critique_cache_size)
        if options.executor == "local":  # machines of a cluster may have data that this one lacks
            check_rows([trial.config for trial in plan.trials if not home.trial(trial.id).done])
        asked = RunRequest(text, chosen.sets, whole, build_tracked_answer)
        sys.exit(_run(plan, home, options, asked, as_json=as_json))
    except KeyboardInterrupt:
        click.echo(f"interrupted; resume with: {_format_command()}", err=True)
        sys.exit(130)


def _limit_failures(number: int | None, fail_fast: bool, keep_going: bool) -> int | None:
    if (number is not None) + fail_fast + keep_going > 1:
        raise click.UsageError("--max-failures, --fail-fast and --keep-going exclude each other: give one")
    return None if keep_going else 1 if fail_fast else number or 10


def _bound_critiques(home: Home, size: int | None) -> None:
    if size is None:
        return
    from sqlite3 import Error

    from capo_bench.store.errors import RunError
    from trainers.critics.store import FILE, set_limit

    if home.critiques is None:
        raise click.UsageError("--critique-cache-size and --no-critique-cache exclude each other: leave out one")
    try:
        set_limit(home.critiques / FILE, size)
    except (Error, OSError) as error:
        problem = f"cannot set the size of the critique cache in {home.critiques / FILE}: {error}"
        raise RunError(f"{problem}; delete the file, or leave out --critique-cache-size") from error


def _run(plan: Plan, home: Home, options: RunOptions, asked: RunRequest, *, as_json: bool) -> int:
    """Run a plan, look by look if it has looks; print the result and return the exit code."""
    from capo_bench.analysis.looks import find_trials_due
    from capo_bench.pages.report import write_report
    from capo_bench.run.progress import Display
    from capo_bench.run.session import run_study

    reports: list[Report] = []
    folder = home.study(plan.study).profile(plan.profile).report

    def write() -> Path | None:
        reports[:] = _build_reports(plan, home)
        return write_report(reports[0], folder)[0].parent if reports else None

    due = find_trials_due(plan, home)
    while True:
        now = replace(asked, plan=find_trials_due(asked.plan or plan, home))
        result = run_study(due, home, options, Display(stderr=True), write, now)
        ran, due = due, find_trials_due(plan, home)
        if result.exit_code or due == ran:
            break
    if result.idle:
        reports.extend(_build_reports(plan, home))
    if as_json:
        _print_result(result, reports, folder)
    else:
        for built in reports:
            _print_report(built, folder, home, result.link)
    if result.exit_code:
        click.echo(_describe_unfinished(result, home), err=True)
    return result.exit_code


def _build_reports(plan: Plan, home: Home) -> list[Report]:
    from capo_bench.pages.report import NothingToReportError, build_report
    from capo_bench.store.records import DamagedFileError

    try:
        return [build_report(plan, home)]
    except (NothingToReportError, DamagedFileError) as error:
        click.echo(str(error), err=True)
        return []


def _print_result(result: RunResult, reports: list[Report], folder: Path) -> None:
    from dataclasses import asdict

    from capo_bench.cli.report import report_json

    report = report_json(reports[0], [folder / "report.html"]) if reports else None
    print_json({"version": 1, **asdict(result), "exit_code": result.exit_code, "report": report})


def _print_report(built: Report, folder: Path, home: Home, link: str) -> None:
    from capo_bench.cli.report import show

    show(built)
    click.echo(f"report: {folder / 'report.html'}")
    if link:
        from capo_bench.track.redact import redact
        from capo_bench.track.store import store_of

        store = store_of(home)
        where = redact(store.uri) if store.remote else "http://127.0.0.1:5000"
        click.echo(f"curves: {where.rstrip('/')}/{link}")
        if not store.remote:
            click.echo(f"  served by: {shlex.join(['capo-bench', 'ui', '--home', str(home.path)])}")


def _describe_unfinished(result: RunResult, home: Home) -> str:
    done = f"{result.done} of {result.planned} trials done"
    if result.interrupted:
        return f"stopped with {done}; resume with: {_format_command()}"
    if result.limit:
        return f"{result.limit}; {done}; resume with: {_format_command()}"
    failed = f"{result.failed} failed, see {shlex.join(['capo-bench', 'status', '--home', str(home.path)])}"
    return f"{done}; {failed}; retry them with: {_format_command()}"


def _format_command() -> str:
    return shlex.join(["capo-bench", *sys.argv[1:]])

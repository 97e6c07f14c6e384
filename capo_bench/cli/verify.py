"""``capo-bench verify``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from capo_bench.cli.options import add_study_options
from capo_bench.cli.printing import print_json, print_table, print_text
from capo_bench.pages.text import Table
from capo_bench.run.studies import StudyChoice, plan_as_run
from capo_bench.store.home import Home

if TYPE_CHECKING:
    from capo_bench.verify.study import Verified

EPILOG = """\b
Exit codes:
  0    everything was computed again and is equal
  1    something differs, or there was nothing to compare
  2    bad input, or no bundle
  3    nothing differs, but some values cannot be computed here: they are not verified

\b
Examples:
  capo-bench verify voting.tar.gz
  capo-bench verify voting.tar.gz --json > checks.json
  capo-bench verify voting --home results
"""

MOST_SHOWN = 20


@click.command(epilog=EPILOG)
@add_study_options
def verify(chosen: StudyChoice, home: Home, as_json: bool) -> None:
    """Derive every number of a study's report again, and say what does not match.

    STUDY is a bundle (*.tar.gz), or a study in the results folder, by its name or file, as it was last run. Completions
    are scored again, rollouts verified and checked again, credit is replayed from critiques; spending, ends by budget,
    metrics, costs and the report are derived again; files are compared with their checksums, and study, plan, ledger
    and trials with each other. A value that cannot be computed here is counted as not verified, with the reason. Values
    that only the run could measure (seconds, losses) are counted separately.
    """
    from capo_bench.run.meter import open_meter
    from capo_bench.verify.checks import make_checks
    from capo_bench.verify.study import verify as verify_home
    from capo_bench.verify.study import verify_bundle

    with open_meter("verifying") as tell:
        if chosen.word.endswith(".tar.gz"):
            result = verify_bundle(Path(chosen.word), tell)
        else:
            plan, sets = plan_as_run(chosen, home), chosen.sets or None
            result = verify_home(plan, home, make_checks(), tell=tell, sets=sets, only=chosen.only)
    if as_json:
        print_json(_build_json(result))
    else:
        _show(result, whole=not chosen.only)
    sys.exit(1 if not result.passed else 3 if result.unverified else 0)


def _build_json(result: Verified) -> dict[str, object]:
    return {
        "version": 1,
        "study": result.study,
        "trials": result.trials,
        "pending": result.pending,
        "passed": result.passed,
        "compared": result.compared,
        "mismatches": result.mismatches,
        "unverified": result.unverified,
        "checks": {
            name: {**vars(check), "mismatches": [vars(mismatch) for mismatch in check.mismatches]}
            for name, check in result.checks.items()
        },
    }


def _show(result: Verified, *, whole: bool) -> None:
    from capo_bench.verify.checks import TITLES

    rows = []
    for name, check in result.checks.items():
        unverified, measured = sum(check.unchecked.values()), sum(check.measured.values())
        numbers = (check.compared, len(check.mismatches), unverified, measured)
        rows.append((TITLES[name], *(f"{number:,}" for number in numbers)))
    print_table(Table("", ("check", "compared", "differ", "not verified", "measured"), tuple(rows)))
    for name, check in result.checks.items():
        for what, count in check.measured.items():
            print_text(f"measured by the run, {TITLES[name]}: {count:,}: {what}")
        for reason, count in check.unchecked.items():
            print_text(f"NOT VERIFIED, {TITLES[name]}: {count:,}: {reason}")
    for name, check in result.checks.items():
        for mismatch in check.mismatches[:MOST_SHOWN]:
            print_text(f"DIFFERS, {name}: {mismatch.where}: {mismatch.recorded} there, {mismatch.derived} derived")
        if (more := len(check.mismatches) - MOST_SHOWN) > 0:
            print_text(f"DIFFERS, {name}: … and {more:,} more; --json has them all")
    if result.mismatches and result.mismatches == len(result.checks["report"].mismatches):
        print_text(
            "only the report differs from what its trials say. If another version of capo-bench wrote it, "
            f"`capo-bench report {result.study}` writes it again; otherwise it was edited"
        )
    if whole and result.checks["report"].mismatches:
        print_text("if `run` or `report` was last given --only, give `verify` the same --only")
    print_text(_describe_verdict(result))


def _describe_verdict(result: Verified) -> str:
    pending = f", {result.pending} more are pending" * bool(result.pending)
    trials = f"{result.trials} trials of {result.study}{pending}"
    if not result.trials or not result.compared:
        return f"NOTHING VERIFIED: {trials}"
    if result.mismatches:
        return f"DIFFERS: {result.mismatches:,} of {result.compared:,} values; {trials}"
    rest = f", {result.unverified:,} more are NOT VERIFIED" * bool(result.unverified)
    return f"all {result.compared:,} values match{rest}; {trials}"

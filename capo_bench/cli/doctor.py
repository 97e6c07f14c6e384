"""``capo-bench doctor``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from capo_bench.cli.options import add_study_options
from capo_bench.cli.printing import print_json, print_text
from capo_bench.run.studies import StudyChoice, plan_of_file
from capo_bench.store.home import Home

if TYPE_CHECKING:
    from capo_bench.doctor.needs import Finding

EPILOG = """\b
Examples:
  capo-bench doctor voting
  capo-bench doctor voting --profile paper --home /shared/results
  capo-bench doctor my-study.yaml --json
"""
_SIGNS = {"ok": "ok", "warning": "warning", "missing": "MISSING", "unknown": "unknown"}


@click.command(epilog=EPILOG)
@add_study_options
@click.option("--workers", type=click.IntRange(min=1), help="Number of trials at a time.")
def doctor(chosen: StudyChoice, home: Home, workers: int | None, as_json: bool) -> None:
    """Check this machine against STUDY: GPUs, memory, disk, packages, hub, ports, critic, clock.

    Names what is missing and how to get it. Downloads, runs and stores nothing. Exit code 1: something is missing.
    """
    from capo_bench.doctor.examine import examine
    from capo_bench.run.runner import RunOptions

    planned = plan_of_file(chosen, home)
    findings = examine(planned, home.path, min_free=RunOptions().min_free, workers=workers)
    if as_json:
        print_json({"version": 1, "findings": [vars(finding) for finding in findings]})
    else:
        _show(findings, f"{planned.study}, profile {planned.profile}")
    sys.exit(any(finding.state == "missing" for finding in findings))


def _show(findings: list[Finding], study: str) -> None:
    missing = sum(finding.state == "missing" for finding in findings)
    print_text(f"{study}: {f'{missing} missing' if missing else 'this machine can run it'}", bold=True)
    for finding in findings:
        print_text(f"{_SIGNS[finding.state]}: {finding.what}: {finding.text}", bold=finding.state == "missing")
        if finding.remedy:
            print_text(f"→ {finding.remedy}", indent=2)

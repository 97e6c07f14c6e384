"""``capo-bench compare``."""

from __future__ import annotations

import click

from capo_bench.cli.completion import complete_trial
from capo_bench.cli.options import add_common_options
from capo_bench.cli.printing import print_json, print_table, print_text
from capo_bench.store.home import Home

EPILOG = """\b
Exit codes:
  0  compared
  2  bad input, or results that cannot be compared: every difference is named

\b
Examples:
  capo-bench compare Qwen2.5-1.5B-math my-lora-math
  capo-bench compare 3f9c2a 77b01e --allow-different dtype
"""


@click.command(epilog=EPILOG)
@click.argument("results", nargs=-1, required=True, metavar="RESULT RESULT…", shell_complete=complete_trial)
@click.option(
    "--allow-different",
    "allowed",
    multiple=True,
    metavar="KEY",
    help="Part of the identity that may differ, such as dtype; the table names it. Repeatable.",
)
@add_common_options
def compare(results: tuple[str, ...], allowed: tuple[str, ...], home: Home, as_json: bool) -> None:
    """Compare evaluations: a table with differences to the first, paired problem by problem.

    RESULT is the name or id of an evaluation or its beginning, the id of a trial, or a folder. Evaluations that differ
    in backend, dtype, template, decoding, sampling, task, data, verifier or critic are refused; the error names the
    differences.
    """
    from capo_bench.analysis.compare import compare as compared
    from capo_bench.cli import Refused
    from capo_bench.pages.evaluation import build_comparison_table
    from evals.harness.identity import EvaluationError

    if len(results) < 2:
        raise click.UsageError(f"one result ({results[0]}) cannot be compared; name two or more")
    try:
        comparison = compared(results, home, allowed)
    except EvaluationError as error:
        raise Refused(error) from error
    shown = build_comparison_table(comparison)
    if as_json:
        table = {"title": shown.title, "headings": shown.headings, "rows": shown.rows}
        print_json({"version": 1, "table": table, "notes": comparison.notes})
        return
    print_table(shown)
    for note in comparison.notes:
        print_text(note)

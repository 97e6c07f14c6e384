"""``capo-bench validate``."""

from __future__ import annotations

import sys
from typing import Any

import click

from capo_bench.cli.options import add_json_option
from capo_bench.cli.printing import print_json, print_text

EPILOG = """\b
Examples:
  capo-bench validate ablations/voting.yaml
  capo-bench validate studies/*.yaml

Every profile of every file is expanded. Exit code 2 if anything is wrong.
"""


@click.command(epilog=EPILOG)
@click.argument("studies", nargs=-1, required=True, metavar="STUDY...")
@add_json_option
def validate(studies: tuple[str, ...], as_json: bool) -> None:
    """Check study files; report the errors of all of them at once."""
    from capo_bench.study.code import import_parts
    from capo_bench.study.errors import StudyError, StudyErrors
    from capo_bench.study.load import check_study

    errors: list[StudyError] = []
    valid: list[dict[str, Any]] = []
    for study in studies:
        try:
            plans = check_study(study)
            for config in {variant.name: variant.config for plan in plans for variant in plan.variants}.values():
                import_parts(config)
        except StudyErrors as invalid:
            errors += invalid.items
        else:
            valid.append({"file": plans[0].file, "trials": {plan.profile: len(plan.trials) for plan in plans}})
    if as_json:
        print_json({"version": 1, "valid": valid, "errors": [str(error) for error in errors]})
        sys.exit(2 if errors else 0)
    for file in valid:
        sizes = ", ".join(f"{profile} {trials}" for profile, trials in file["trials"].items())
        print_text(f"OK {file['file']}: {sizes} trials")
    if errors:
        raise StudyErrors(errors)

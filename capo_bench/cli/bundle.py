"""``capo-bench bundle``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from capo_bench.cli.options import add_study_options
from capo_bench.cli.printing import print_json, print_text
from capo_bench.run.studies import StudyChoice, find_study_file, plan_as_run
from capo_bench.store.home import Home

if TYPE_CHECKING:
    from capo_bench.bundle.unpack import Unpacked

EPILOG = """\b
Exit codes:
  0    written or unpacked
  2    bad input, nothing has finished, the study is running, secrets, or no bundle

\b
Examples:
  capo-bench bundle voting
  capo-bench bundle voting --weights --out voting-with-weights.tar.gz
  capo-bench bundle my-study.yaml --profile full
  capo-bench bundle voting.tar.gz --into results
"""

SUFFIX = ".tar.gz"


@click.command(epilog=EPILOG)
@add_study_options
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="The archive.  [default: STUDY.tar.gz]")
@click.option("--weights", is_flag=True, help="Add trained weights and the models that trials share.")
@click.option("--blot", is_flag=True, help="Replace secrets by *** instead of refusing them.")
@click.option(
    "--into", type=click.Path(file_okay=False, path_type=Path), help="Unpack a bundle into this results folder."
)
def bundle(  # noqa: PLR0913, PLR0917 - one argument an option
    chosen: StudyChoice,
    home: Home,
    out: Path | None,
    weights: bool,
    blot: bool,
    into: Path | None,
    as_json: bool,
) -> None:
    """Write one file with all that is needed to check STUDY or to continue it elsewhere; or unpack such a file.

    STUDY is the name or file of a study in the results folder, as it was last run. It must not be running; its
    finished trials are bundled. The same content gives the same bytes; `capo-bench verify` checks them.

    With --into, STUDY is a bundle: it is unpacked into a results folder, in which `run` and `report` find its trials.
    Existing files are kept, and those that differ are named.
    """
    if into is not None and (out or weights or blot or chosen.sets or chosen.only):
        raise click.UsageError("--into unpacks a bundle as it is: leave out the other options")
    if out is not None and not out.name.endswith(SUFFIX):
        raise click.BadParameter(f"{str(out)!r}: bundles are gzip archives; name it *{SUFFIX}", param_hint="--out")
    if into is not None:
        _unpack(Path(chosen.word), Home(into), as_json=as_json)
    else:
        _make(chosen, home, out, as_json=as_json, weights=weights, blot=blot)


def _make(chosen: StudyChoice, home: Home, out: Path | None, *, as_json: bool, **how: bool) -> None:
    from capo_bench.bundle.make import make
    from capo_bench.run.meter import open_meter
    from capo_bench.study.last_plan import RunRequest, read_last_request
    from capo_bench.study.load import read_study_text
    from evals.checksums import hash_file

    plan = plan_as_run(chosen, home)
    asked = read_last_request(home, plan)
    if chosen.sets or not asked.text:
        asked = RunRequest(read_study_text(find_study_file(chosen.word, chosen.profile, home)), chosen.sets)
    path = out or Path(f"{plan.study}{SUFFIX}")
    with open_meter("bundling") as tell:
        made = make(plan, home, path, asked, only=chosen.only, tell=tell, **how)
    size, digest = path.stat().st_size, hash_file(path)
    if as_json:
        summary = {"file": str(path), "bytes": size, "sha256": digest, "files": made.files}
        print_json(
            {"version": 1, **summary, "finished": made.finished, "pending": made.pending, "blotted": made.blotted}
        )
        return
    trials = len(made.finished) + len(made.pending)
    print_text(f"{path}: {len(made.finished)} of {trials} trials, {made.files} files, {size:,} bytes")
    print_text(f"sha256 {digest}")
    if made.blotted:
        print_text(f"blotted: {', '.join(made.blotted)}")


def _unpack(path: Path, home: Home, *, as_json: bool) -> None:
    from capo_bench.bundle.unpack import unpack
    from capo_bench.run.meter import open_meter

    if not path.is_file():
        raise click.BadParameter(f"{str(path)!r}: no such file; --into unpacks a bundle", param_hint="STUDY")
    with open_meter("unpacking") as tell:
        unpacked = unpack(path, home, tell)
    if as_json:
        print_json({"version": 1, "new": unpacked.placed, "there": unpacked.equal, "different": unpacked.kept})
        return
    print_text(f"{home.path}: {len(unpacked.placed)} new, {len(unpacked.equal)} there already")
    for unit in unpacked.kept:
        print_text(f"kept, although it differs: {unit}")
    _tell_how_to_go_on(unpacked, home)


def _tell_how_to_go_on(unpacked: Unpacked, home: Home) -> None:
    """Print how to run it here, and whether this code would repeat its trials."""
    from capo_bench.study.errors import StudyErrors
    from capo_bench.study.load import load_plan

    manifest = unpacked.manifest
    file = home.study(manifest.study).profile(manifest.profile).study
    options = [
        word
        for key, values in (("--set", manifest.sets), ("--only", manifest.only))
        for value in values
        for word in (key, value)
    ]
    words = [str(file), "--profile", manifest.profile, *options, "--home", str(home.path)]
    click.echo(f"go on with: {shlex.join(['capo-bench', 'run', *words])}")
    try:
        here = {trial.id for trial in load_plan(file, manifest.profile, manifest.sets, manifest.only).trials}
    except StudyErrors as errors:
        print_text(f"this installation cannot run it:\n{errors}")
        return
    if others := unpacked.trials - here:
        print_text(
            f"{len(others)} of {len(unpacked.trials)} finished trials have other ids with this code and these "
            "packages: `run` would repeat them; `capo-bench diff` says why, and provenance.json names their versions"
        )

"""``capo-bench bundle``."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from capo_bench.cli.bar import bar
from capo_bench.cli.options import home_option, study_options

if TYPE_CHECKING:
    from capo_bench.bundle.make import Wanted
    from capo_bench.bundle.unpack import Unpacked
    from capo_bench.home import Home

EPILOG = """\b
Exit codes:
  0    written, listed or unpacked
  2    bad input, nothing has finished, the study is running, secrets, or no bundle

\b
Examples:
  capo-bench bundle voting
  capo-bench bundle voting --weights --out voting-with-weights.tar.gz
  capo-bench bundle my-study.yaml --profile full --dry-run
  capo-bench bundle voting.tar.gz --into results
"""

SUFFIX = ".tar.gz"


@click.command(epilog=EPILOG)
@study_options
@home_option
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="The archive.  [default: STUDY.tar.gz]")
@click.option("--weights", is_flag=True, help="Trained weights and the models that trials share, too.")
@click.option("--blot", is_flag=True, help="Put *** in the place of secrets instead of refusing them.")
@click.option("--dry-run", is_flag=True, help="Only list what would be in it, and sizes.")
@click.option(
    "--into", type=click.Path(file_okay=False, path_type=Path), help="Unpack a bundle into this results folder."
)
def bundle(  # noqa: PLR0913, PLR0917 - one argument an option
    study: str,
    profile: str,
    sets: tuple[str, ...],
    only: tuple[str, ...],
    home: Path,
    out: Path | None,
    weights: bool,
    blot: bool,
    dry_run: bool,
    into: Path | None,
) -> None:
    """Put all that is needed to check STUDY, or to continue it elsewhere, into one file; or unpack such a file.

    STUDY is a file, or the name of a shipped study; give --profile, --set and --only as they were run. Its finished
    trials are taken; it must not be running. The same content gives the same bytes; `capo-bench verify` checks them.

    With --into, STUDY is a bundle: it is unpacked into a results folder, in which `run` and `report` find its trials.
    What is there already is left as it is, and what differs is named.
    """
    from capo_bench.bundle.errors import BundleError
    from capo_bench.cli import Refused
    from capo_bench.home import Home
    from capo_bench.report.collect import DamagedFileError
    from capo_bench.run.errors import RunError

    if into is not None and (out or weights or blot or dry_run or sets or only):
        raise click.UsageError("--into unpacks a bundle as it is: leave out the other options")
    if out is not None and not out.name.endswith(SUFFIX):
        raise click.BadParameter(f"{str(out)!r}: bundles are gzip archives; name it *{SUFFIX}", param_hint="--out")
    try:
        if into is not None:
            _unpack(Path(study), Home(into))
        else:
            _make(_wanted(study, profile, sets, only, weights), Home(home), out, blot, dry_run)
    except (BundleError, DamagedFileError, RunError, OSError) as error:
        raise Refused(error) from error


def _wanted(study: str, profile: str, sets: Sequence[str], only: Sequence[str], weights: bool) -> Wanted:
    from capo_bench.bundle.make import Wanted
    from capo_bench.study.load import load_plan, study_text

    return Wanted(load_plan(study, profile, sets, only), study_text(study), sets, only, weights)


def _make(wanted: Wanted, home: Home, out: Path | None, blot: bool, dry_run: bool) -> None:
    from capo_bench.bundle.make import gathered, make, sizes

    if dry_run:
        with gathered(wanted, home) as items:
            found = sizes(items)
        for part, (files, size) in found.items():
            click.echo(f"{part:<16} {files:>6} files {size:>15,} bytes")
        click.echo(
            f"{'in all':<16} {sum(n for n, _ in found.values()):>6} files "
            f"{sum(n for _, n in found.values()):>15,} bytes, before they are packed"
        )
        return
    path = out or Path(f"{wanted.plan.study}{SUFFIX}")
    with bar("bundling", "bytes") as tell:
        made = make(wanted, home, path, blot=blot, tell=tell)
    manifest = made.manifest
    trials = len(manifest.finished) + len(manifest.owed)
    click.echo(f"{path}: {len(manifest.finished)} of {trials} trials, {len(manifest.files)} files, {made.size:,} bytes")
    click.echo(f"sha256 {made.sha256}")
    if changed := [one.path for one in manifest.files if one.blotted]:
        click.echo(f"blotted: {', '.join(changed)}")


def _unpack(path: Path, home: Home) -> None:
    from capo_bench.bundle.unpack import unpack

    if not path.is_file():
        raise click.BadParameter(f"{str(path)!r}: no such file; --into unpacks a bundle", param_hint="STUDY")
    with bar("unpacking", "bytes") as tell:
        unpacked = unpack(path, home, tell)
    click.echo(f"{home.path}: {len(unpacked.placed)} new, {len(unpacked.equal)} there already")
    for unit, files in unpacked.kept.items():
        click.echo(f"left as it is, and differs: {unit} ({', '.join(files[:5])}{', …' if len(files) > 5 else ''})")
    _tell_how_to_go_on(unpacked, home)


def _tell_how_to_go_on(unpacked: Unpacked, home: Home) -> None:
    """Say how to run it here, and whether this code would run its trials anew."""
    from capo_bench.bundle.manifest import STUDY_FILE
    from capo_bench.study.errors import StudyErrors
    from capo_bench.study.load import load_plan

    manifest = unpacked.manifest
    file = home.study(manifest.study).path / STUDY_FILE
    options = [
        word
        for key, values in (("--set", manifest.sets), ("--only", manifest.only))
        for one in values
        for word in (key, one)
    ]
    words = [str(file), "--profile", manifest.profile, *options, "--home", str(home.path)]
    click.echo(f"go on with: {shlex.join(['capo-bench', 'run', *words])}")
    try:
        here = {trial.id for trial in load_plan(file, manifest.profile, manifest.sets, manifest.only).trials}
    except StudyErrors as errors:
        click.echo(f"which this installation cannot do:\n{errors}")
        return
    if others := {*manifest.finished} - here:
        click.echo(
            f"{len(others)} of {len(manifest.finished)} finished trials have other ids with this code and these "
            "packages: `run` would run them anew; `capo-bench diff` says why, provenance.json which versions they had"
        )

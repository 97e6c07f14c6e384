"""``capo-bench init``."""

from __future__ import annotations

import re
from pathlib import Path

import click

from capo_bench.cli.options import add_json_option
from capo_bench.cli.printing import print_json, print_text
from evals.files import write_atomic

EPILOG = """\b
Examples:
  capo-bench init my-study
  capo-bench init studies/my-study.yaml
"""


@click.command(epilog=EPILOG)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), default=Path("my-study.yaml"))
@add_json_option
def init(file: Path, as_json: bool) -> None:
    """Write a commented study into FILE; it runs unchanged, and you can edit it.

    An existing file is kept.
    """
    from importlib.resources import files

    path = file if file.suffix in {".yaml", ".yml"} else file.with_name(f"{file.name}.yaml")
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", path.stem).strip("-._") or "my-study"
    text = (files("capo_bench.study") / "new_study.yaml").read_text(encoding="utf-8").replace("NAME", name, 1)
    if path.exists():
        raise click.UsageError(f"{path} is there already; name another file")
    write_atomic(path, text)
    if as_json:
        print_json({"version": 1, "file": str(path), "study": name})
        return
    print_text(f"{path}: a study of 3 variants and 3 seeds; change it, then:")
    click.echo(f"  capo-bench plan {path}\n  capo-bench run {path} --profile small")

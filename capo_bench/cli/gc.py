"""``capo-bench gc``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from capo_bench.cli.completion import complete_study, complete_trial
from capo_bench.cli.options import add_common_options
from capo_bench.cli.printing import print_json, print_text
from capo_bench.gc.removable import KINDS
from capo_bench.store.home import Home, read_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from capo_bench.gc.find import Scan
    from capo_bench.gc.removable import Removable

EPILOG = (
    "\b\nKinds:\n"
    + "\n".join(f"  {kind:12}{line}" for kind, line in KINDS.items())
    + """

\b
Exit codes:
  0  everything chosen is deleted, or it was only shown
  1  something could not be deleted
  2  bad input, the study is running, or another gc is running

\b
Examples:
  capo-bench gc
  capo-bench gc --yes --kind leftovers --kind caches
  capo-bench gc voting --keep-models best:1
  capo-bench gc --trial 3f2a90c1d4e5 --yes
  capo-bench gc --json
"""
)


def _read_policy(text: str) -> int | None:
    """Read a policy: the number of models that are kept of each variant; None: all."""
    word, _, count = text.partition(":")
    if text == "all":
        return None
    if text == "none":
        return 0
    if word == "best" and count.isdecimal() and int(count) > 0:
        return int(count)
    raise click.BadParameter(f"{text!r} is no policy; write all, none, or best:N, as in best:1")


@click.command(epilog=EPILOG)
@click.argument("study", required=False, default="", shell_complete=complete_study)
@click.option("--yes", is_flag=True, help="Delete it.  [default: show it, and on a terminal ask]")
@click.option("--kind", "kinds", type=click.Choice(list(KINDS)), multiple=True, help="Only this kind; repeatable.")
@click.option(
    "--keep-models",
    type=_read_policy,
    default="all",
    show_default=True,
    metavar="POLICY",
    help="Trained weights to keep: all, none, or best:N, the best N seeds of each variant by a study's primary metric.",
)
@click.option(
    "--trial",
    "trials",
    multiple=True,
    metavar="ID",
    shell_complete=complete_trial,
    help="Delete a whole trial, finished or not.",
)
@add_common_options
def gc(study: str, home: Home, yes: bool, as_json: bool, **given: Any) -> None:
    """Show what can be deleted from HOME, or from STUDY's trials, with size and reason; delete it with --yes.

    Samples, rollouts, metrics and ledgers of finished trials stay, unless the whole trial is named. What a running
    study uses is never deleted. Files that trials share are deleted with the last of them.
    """
    from capo_bench.gc.find import GcRequest, scan
    from capo_bench.gc.free import free, hold_at_rest
    from capo_bench.run.limits import format_size

    wanted = GcRequest(study, **{**given, "kinds": given["kinds"] or tuple(KINDS)})
    troubles: list[str] = []
    look = scan(home, wanted)
    items = {item: item.count_bytes() for item in look.items()}
    if not as_json:
        _show(look, items)
    freeing = bool(items) and (yes or _ask(as_json))
    if freeing:
        with hold_at_rest(home, study) as running:
            # A run may have started to use an item since it was shown.
            still = set(scan(home, wanted, running).items())
            troubles = free(home, [item for item in items if item in still])
    if as_json:
        print_json(_build_json(look, items, freeing, troubles))
    elif freeing:
        gone = sum(count for item, count in items.items() if not item.path.exists())
        click.echo(f"freed {format_size(gone)}")
    for trouble in troubles:
        click.echo(trouble, err=True)
    sys.exit(int(bool(troubles)))


def _ask(as_json: bool) -> bool:
    if as_json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    return click.confirm("Delete it?")


def _show(look: Scan, items: Mapping[Removable, int]) -> None:
    from capo_bench.run.limits import format_size

    for kind, what in KINDS.items():
        chosen = [(item, count) for item, count in items.items() if item.kind == kind]
        if not chosen:
            continue
        print_text(f"{kind}: {len(chosen):,}, {format_size(sum(count for _, count in chosen))}: {what}")
        for item, count in chosen[:_SHOWN]:
            print_text(f"{item.path}  {format_size(count)}: {item.why}", indent=4)
        if len(chosen) > _SHOWN:
            print_text(f"… and {len(chosen) - _SHOWN:,} more (--json names all)", indent=4)
    total = f"{len(items):,} things, {format_size(sum(items.values()))}" if items else "nothing can be deleted"
    print_text(f"in all: {total}{'; add --yes to free it' if items and not sys.stdin.isatty() else ''}")
    for line in _list_warnings(look, items):
        print_text(line)


_SHOWN = 5


def _list_warnings(look: Scan, items: Mapping[Removable, int]) -> list[str]:
    from capo_bench.run.board import format_duration

    warnings = [f"left out, because it is running: {study}" for study in sorted(look.running)]
    if models := [item.trial for item in items if item.kind == "models"]:
        costs = [read_json(look.home.trial(trial).metrics).get("cost", {}) for trial in models]
        took = format_duration(sum(float(cost.get("train_seconds") or 0.0) for cost in costs))
        warnings.append(
            f"without their weights {len(models)} trials must be trained again ({took} by their record) if a "
            "benchmark is added to their study, and `capo-bench eval TRIAL` cannot measure them; their results "
            "stay"
        )
    if unplanned := look.finished_unplanned:
        shown = " ".join(f"--trial {trial}" for trial in unplanned[:_SHOWN])
        warnings.append(
            f"{len(unplanned)} finished trials are in no study's plan; they stay unless you name them: {shown}"
        )
    return warnings


def _build_json(look: Scan, items: Mapping[Removable, int], freed: bool, troubles: list[str]) -> dict[str, Any]:
    sizes = {kind: [count for item, count in items.items() if item.kind == kind] for kind in KINDS}
    return {
        "version": 1,
        "freed": freed,
        "bytes": sum(items.values()),
        "kinds": {kind: {"count": len(counts), "bytes": sum(counts)} for kind, counts in sizes.items()},
        "items": [
            {"kind": item.kind, "path": str(item.path), "bytes": count, "why": item.why, "trial": item.trial or None}
            for item, count in items.items()
        ],
        "running": sorted(look.running),
        "finished_unplanned": look.finished_unplanned,
        "warnings": [] if freed else _list_warnings(look, items),
        "troubles": troubles,
    }

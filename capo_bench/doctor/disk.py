"""Check the disks for free space for trials and downloads, and the clock of the results folder's disk."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from capo_bench.doctor.machine import SIZE_UNKNOWN
from capo_bench.doctor.needs import Finding, HubItem, Needs
from capo_bench.doctor.network import is_in_cache
from capo_bench.run.limits import format_size
from capo_bench.study.beside import count_model_parameters
from capo_bench.study.memory import count_trained_parameters

TRIAL_BYTES = 16 * 2**20
"""Generous estimate of the bytes that a trial of an embedded backbone writes."""
SKEW_SECONDS = 2.0

Downloads = dict[HubItem, int | None]
"""Bytes of each download from the hub; None if unknown."""


def check_disks(needs: Needs, home: Path, min_free: int) -> Iterator[Finding]:
    """Yield findings on the free space for trials in the results folder and for models in the hub's cache.

    The results folder need not exist; `min_free` bytes stay free on each disk.
    """
    from huggingface_hub import constants

    coming = list_downloads(needs)
    models = sum(count or 0 for count in coming.values())
    results, cache = _find_existing(home), _find_existing(Path(constants.HF_HUB_CACHE))
    wanted, trials = estimate_written_bytes(needs) + min_free, f"{needs.trials} trials"
    if not coming:
        yield _check_room("disk", results, wanted, trials)
    elif results.stat().st_dev == cache.stat().st_dev:
        yield _check_room("disk", results, wanted + models, f"{trials} and {_describe_downloads(coming)}", coming)
    else:
        yield _check_room("disk", results, wanted, trials)
        yield _check_room("disk of the hub's cache", cache, models + min_free, _describe_downloads(coming), coming)


def estimate_written_bytes(needs: Needs) -> int:
    """Return the bytes that trials write: each trained model in float32, and two checkpoints of the largest one."""
    planned = [name for name in needs.models if needs.backbones[name].planned]
    sizes = {name: 4 * count_trained_parameters(needs.backbones[name]) for name in planned}
    kept = sum(needs.models[name] * size for name, size in sizes.items())
    return needs.trials * TRIAL_BYTES + kept + 2 * 3 * max(sizes.values(), default=0)


def list_downloads(needs: Needs) -> Downloads:
    """Return what is neither in a folder nor in the hub's cache, with upper bounds of the bytes."""
    return {item: count for item, count in needs.hub.items() if not _is_here(item)}


def _is_here(item: HubItem) -> bool:
    whole = item.kind == "model" and count_model_parameters(item.name, item.revision) is not None
    return whole or Path(item.name).is_dir() or (item.kind == "dataset" and is_in_cache(item))


def _describe_downloads(coming: Downloads) -> str:
    """Describe the downloads with their sizes, and list those of unknown size."""
    counted = [f"{item.name} {format_size(count)}" for item, count in coming.items() if count is not None]
    unknown = [item.name for item in _list_unknown(coming)]
    datasets = sum(item.kind == "dataset" for item in coming)
    if datasets:
        unknown.append("1 dataset" if datasets == 1 else f"{datasets} datasets")
    named = f"downloads ({', '.join(counted)})" if counted else "downloads"
    return f"{named}; not counted, of unknown size: {', '.join(unknown)}" if unknown else named


def _list_unknown(coming: Downloads) -> list[HubItem]:
    return [item for item, count in coming.items() if count is None and item.kind == "model"]


def _check_room(what: str, folder: Path, wanted: int, of: str, coming: Downloads | None = None) -> Finding:
    if not os.access(folder, os.W_OK):
        way_out = (
            "choose another --home, or change its rights" if what == "disk" else "set HF_HOME, or change its rights"
        )
        return Finding(what, "missing", f"{folder} cannot be written", way_out)
    free = shutil.disk_usage(folder).free
    sizes = f"{format_size(free)} free at {folder}, about {format_size(wanted)} needed for {of}"
    if free < wanted:
        remedy = "free space, choose another --home (trials) or HF_HOME (models), or run fewer trials (--only)"
        return Finding(what, "missing", sizes, remedy)
    return Finding(what, "unknown", sizes, SIZE_UNKNOWN) if _list_unknown(coming or {}) else Finding(what, "ok", sizes)


def _find_existing(folder: Path) -> Path:
    return next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())


def check_file_clock(home: Path) -> Finding:
    """Check whether the clock of the results folder's disk equals this machine's: locks and status use both."""
    import tempfile

    nearest = _find_existing(home)
    try:
        with tempfile.NamedTemporaryFile(dir=nearest, prefix=".capo-bench-doctor-") as probe:
            off = Path(probe.name).stat().st_mtime - time.time()
    except OSError as error:
        return Finding("clock of the disk", "unknown", f"{nearest}: {error.strerror}")
    if abs(off) <= SKEW_SECONDS:
        return Finding("clock of the disk", "ok", f"within {SKEW_SECONDS:g} s of this machine's")
    return Finding(
        "clock of the disk", "warning", f"{off:+.0f} s from this machine's", "set both by the same time server (NTP)"
    )

"""Why two trials differ: settings and identity, where they ran, what they measured, sample by sample."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from capo_bench.analysis.provenance import ALWAYS_DIFFERENT
from capo_bench.store.errors import RunError
from capo_bench.store.home import Home, TrialFolder
from capo_bench.store.records import DamagedFileError, Record, flatten, read_object, read_records
from capo_bench.study.identity import PARTS
from capo_bench.study.plan import Trial
from evals.registry import find_nearest

COUNTED = ("policy_tokens", "critic_tokens", "critiques", "abstained")
"""Costs that a rerun repeats; seconds it does not."""


class UnknownTrialError(RunError):
    """A reference that names no trial, or several."""


@dataclass(frozen=True)
class Change:
    """One thing that two trials do not share; None where a side lacks it."""

    where: str
    left: object
    right: object


@dataclass(frozen=True)
class TrialDiff:
    """What two trials do not share.

    Attributes:
        stages: Which parts of their identities differ, so from where on their ways part; settings that the method
            ignores are in none. Empty: they are the same trial.
        settings: Seed and settings.
        identity: Further parts of the identity: code, packages, data.
        definitions: Functions, classes and values whose own text differs, or that only one of them reaches.
        origin: Provenance beside the identity: commit, hardware.
        results: Metrics, counted costs, final weights and samples.
        unfinished: Which of the two have no metrics yet.
    """

    stages: tuple[str, ...]
    settings: tuple[Change, ...]
    identity: tuple[Change, ...]
    definitions: tuple[Change, ...]
    origin: tuple[Change, ...]
    results: tuple[Change, ...]
    unfinished: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """One sentence."""
        same = f"different identity ({', '.join(self.stages)})" if self.stages else "same identity"
        if self.unfinished:
            return f"{same}; not finished: {', '.join(self.unfinished)}"
        if self.stages:
            return f"{same}, {'different' if self.results else 'the same'} results"
        if not self.results:
            return f"{same}, same metrics, bit for bit"
        return f"{same}, different results; " + (
            "they come from different places" if self.origin else "so the run is not deterministic there"
        )


def find_trial(home: Home, reference: str) -> TrialFolder:
    """Return the trial that an id, a prefix of one, or a folder names.

    Raises:
        UnknownTrialError: None does, or several do; the message names candidates.
    """
    folder = TrialFolder(Path(reference))
    if folder.config.is_file():
        return folder
    trials = home.trial("any").path.parent
    ids = sorted(path.name for path in trials.glob("*") if (path / "config.json").is_file())
    if reference in ids:
        return home.trial(reference)
    hits = [name for name in ids if reference and name.startswith(reference)]
    if len(hits) == 1:
        return home.trial(hits[0])
    if hits:
        raise UnknownTrialError(
            f"{reference!r} is the beginning of {len(hits)} trials: {_find_some(home, hits)}; give more"
        )
    close = find_nearest(reference, ids, most=3)
    hint = f"did you mean {_find_some(home, close)}?" if close else f"trials there: {_find_some(home, ids) or 'none'}"
    raise UnknownTrialError(f"no trial {reference!r} under {trials} and no trial's folder of that name; {hint}")


def read_trial(folder: TrialFolder) -> Trial:
    """Return the trial of a folder.

    Raises:
        DamagedFileError: Its settings cannot be read, or not by this version.
    """
    try:
        return Trial.from_json(read_object(folder.config))
    except (ValueError, KeyError) as error:
        if isinstance(error, DamagedFileError):
            raise
        raise DamagedFileError(f"{folder.config}: not the settings of a trial of this version ({error})") from error


def diff_trials(left: TrialFolder, right: TrialFolder) -> TrialDiff:
    """Compare two trials.

    Raises:
        DamagedFileError: A file of one of them cannot be read.
    """
    ours, theirs = read_object(left.config), read_object(right.config)
    settings = list_changes(_flatten_settings(ours), _flatten_settings(theirs))
    identities = ours.get("identity", {}), theirs.get("identity", {})
    compared = {change.where for change in settings}
    done = [folder for folder in (left, right) if folder.done]
    return TrialDiff(
        stages=tuple(
            part
            for part in ("version", "seed", *PARTS)
            if list_changes(*({part: identity.get(part)} for identity in identities))
        ),
        settings=settings,
        identity=tuple(change for change in list_changes(*identities) if _name_setting(change.where) not in compared),
        definitions=_compare_definitions(ours, theirs),
        origin=list_changes(_read_origin(left), _read_origin(right)),
        results=_compare_results(left, right) if len(done) == 2 else (),
        unfinished=tuple(folder.path.name for folder in (left, right) if not folder.done),
    )


def list_changes(left: Mapping[str, object], right: Mapping[str, object]) -> tuple[Change, ...]:
    """Return where two trees differ, by dotted path, in the left one's order."""
    ours, theirs = flatten(left), flatten(right)
    paths = dict.fromkeys([*ours, *theirs])
    every = [Change(path, ours.get(path), theirs.get(path)) for path in paths]
    return tuple(change for change in every if not _match_definitions(change.left, change.right))


def _compare_definitions(left: Record, right: Record) -> tuple[Change, ...]:
    """Return the definitions that differ; one that only moved, or has another name, is the same."""
    differing = []
    for stage in ("shared", *PARTS):
        ours, theirs = (config.get("definitions", {}).get(stage, {}) for config in (left, right))
        gone = {name: own for name, own in ours.items() if name not in theirs}
        new = {name: own for name, own in theirs.items() if name not in ours}
        differing += [Change(name, own, theirs[name]) for name, own in ours.items() if theirs.get(name, own) != own]
        differing += [Change(name, own, None) for name, own in gone.items() if own not in new.values()]
        differing += [Change(name, None, own) for name, own in new.items() if own not in gone.values()]
    return tuple(dict.fromkeys(differing))


def _match_definitions(left: object, right: object) -> bool:
    both_nan = isinstance(left, float) and isinstance(right, float) and math.isnan(left) and math.isnan(right)
    return both_nan or (type(left) is type(right) and left == right)


def _flatten_settings(config: Record) -> dict[str, object]:
    # The variant's name decides nothing: two studies may call one trial by two names.
    return {"seed": config.get("seed"), **config.get("config", {})}


def _name_setting(path: str) -> str:
    """Return where a part of the identity would stand among the settings."""
    part, _, rest = path.partition(".")
    return rest if part == "training" else f"evaluation.{rest}" if part in PARTS else path


def _read_origin(folder: TrialFolder) -> dict[str, object]:
    """Return the provenance without what is a setting or a result."""
    provenance = _read_provenance(folder)
    prints = {key: value for key, value in provenance.get("fingerprints", {}).items() if key != "final_weights"}
    origin = {key: value for key, value in provenance.items() if key not in (*ALWAYS_DIFFERENT, "seed", "fingerprints")}
    return {**origin, "fingerprints": prints}


def _read_provenance(folder: TrialFolder) -> Record:
    return read_object(folder.provenance) if folder.provenance.exists() else {}


def _read_final_weights(folder: TrialFolder) -> dict[str, object]:
    return {"final_weights": _read_provenance(folder).get("fingerprints", {}).get("final_weights")}


def _compare_results(left: TrialFolder, right: TrialFolder) -> tuple[Change, ...]:
    ours, theirs = read_object(left.metrics), read_object(right.metrics)
    counted = [{name: r.get("cost", {}).get(name) for name in COUNTED} for r in (ours, theirs)]
    differing = [*list_changes(ours["metrics"], theirs["metrics"]), *list_changes(*counted)]
    differing += list_changes(_read_final_weights(left), _read_final_weights(right))
    tasks = {path.parent.name for folder in (left, right) for path in folder.evaluation.glob("*/samples.jsonl")}
    return (*differing, *(change for task in sorted(tasks) for change in _compare_samples(left, right, task)))


def _compare_samples(left: TrialFolder, right: TrialFolder, task: str) -> list[Change]:
    sides = [folder.samples(task) for folder in (left, right)]
    if not all(path.exists() for path in sides):
        return [Change(f"samples/{task}", *("there" if path.exists() else "absent" for path in sides))]
    ours, theirs = (read_records(path) for path in sides)
    if len(ours) != len(theirs):
        return [Change(f"samples/{task}", f"{len(ours)} samples", f"{len(theirs)} samples")]
    apart = [(a, b) for a, b in zip(ours, theirs, strict=True) if a != b]
    if not apart:
        return []
    a, b = apart[0]
    where = f"samples/{task}: {len(apart)} of {len(ours)} differ, first {a.get('problem')}"
    return [Change(where, a.get("completion"), b.get("completion"))]


def _find_some(home: Home, ids: list[str]) -> str:
    shown = []
    for name in ids[:5]:
        config = read_object(home.trial(name).config)
        shown.append(f"{name} ({config.get('variant')}, seed {config.get('seed')})")
    return ", ".join(shown) + (f" and {len(ids) - 5} more" if len(ids) > 5 else "")

"""Find what can be deleted from a results folder: what no plan and no finished trial needs. Only reads.

The plans of the last runs name their trials; these, and finished trials, name their stages by key. Samples, rollouts,
metrics and logs of a finished trial are deleted only with the whole trial, which the user must name. Everything that a
process works on is left out.
"""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

from capo_bench.analysis.measures import measure
from capo_bench.gc.removable import AWAY, KINDS, Removable
from capo_bench.run.state import find_holder, list_started_studies
from capo_bench.store.errors import RunError
from capo_bench.store.home import Home, StageKind, TrialFolder, read_json
from capo_bench.store.lock import is_locked
from capo_bench.store.walk import list_stages
from capo_bench.study.identity import hash_stages

SETTLED_SECONDS = 3600.0
"""Age from which a file without a lock, such as one that a report writes, is left by a process that has ended."""

_HALF = re.compile(r"\.(model|launch)|\..+\.(making|\d+|[0-9a-f]{16})")
"""Names of incomplete files and folders; they are renamed when they are complete."""
_OLD_LOG = re.compile(r".+\.log\.\d")


@dataclass(frozen=True)
class GcRequest:
    """The request of the user: what to delete.

    Attributes:
        study: Study whose trials are searched; empty: the whole results folder.
        kinds: Kinds of what is deleted.
        keep_models: Number of trained models of each variant that are kept, the best by the primary metric; None: all.
        trials: Ids of whole trials.
    """

    study: str = ""
    kinds: Collection[str] = tuple(KINDS)
    keep_models: int | None = None
    trials: Collection[str] = ()


@dataclass(frozen=True)
class LastPlan:
    """The plan of the last run of a profile: its study, primary metric (``task/quantity``), and trials by id."""

    study: str
    metric: str
    trials: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Scan:
    """One pass over a results folder: the request, the running studies, and all plans."""

    home: Home
    wanted: GcRequest
    running: Collection[str]
    plans: list[LastPlan]

    def items(self) -> list[Removable]:
        """Return what can be deleted, each once, in the order of the kinds.

        Raises:
            RunError: Trials cannot be ranked.
        """
        items = dict.fromkeys(item for kind in KINDS if kind in self.wanted.kinds for item in _FINDERS[kind](self))
        return [item for item in items if item.lock is None or not is_locked(item.lock)]

    @cached_property
    def planned(self) -> dict[str, Mapping[str, Any]]:
        """All planned trials, by id."""
        return {trial: record for plan in self.plans for trial, record in plan.trials.items()}

    @cached_property
    def quiet(self) -> bool:
        """Whether no process runs a study, an evaluation or a measurement of a critic."""
        locks = [path for kind in ("evals", "critics") for path in self.home.path.glob(f"{kind}/*/lock")]
        return not self.running and not any(map(is_locked, locks))

    @cached_property
    def trials(self) -> list[TrialFolder]:
        """All trials in the results folder."""
        return [TrialFolder(path) for path in sorted((self.home.path / "trials").glob("[!.]*")) if path.is_dir()]

    @cached_property
    def resting(self) -> dict[str, TrialFolder]:
        """The trials in the results folder, or those of the study, that no process works on, by id."""
        busy = {trial for plan in self.plans if plan.study in self.running for trial in plan.trials}
        mine = {trial for plan in self.plans if plan.study == self.wanted.study for trial in plan.trials}
        return {
            folder.path.name: folder
            for folder in self.trials
            if (not self.wanted.study or folder.path.name in mine)
            and folder.path.name not in busy
            and not is_locked(folder.path / "lock")
        }

    @cached_property
    def going(self) -> frozenset[str]:
        """Trials that are deleted as a whole."""
        return frozenset(self.wanted.trials) | {trial for trial in self._unplanned if not self.resting[trial].done}

    @property
    def finished_unplanned(self) -> list[str]:
        """Finished trials that are in no plan: they stay unless the user names them."""
        return [trial for trial in self._unplanned if trial not in self.going]

    @property
    def _unplanned(self) -> list[str]:
        return [trial for trial in self.resting if trial not in self.planned]


def scan(home: Home, wanted: GcRequest, running: Collection[str] | None = None) -> Scan:
    """Scan a results folder. `running` are the studies that are being run; None: their locks tell.

    Raises:
        RunError: A plan cannot be read, the study does not exist, or a named trial does not exist or is in use.
    """
    studies = list(list_started_studies(home))
    if wanted.study and wanted.study not in studies:
        raise RunError(
            f"no study {wanted.study!r} has been run in {home.path}; there are: {', '.join(studies) or 'none'}"
        )
    if running is None:
        running = {study for study in studies if find_holder(home.study(study)) is not None}
    plans = [_read_plan(path) for path in sorted(home.path.glob("studies/*/profiles/*/plan.json"))]
    look = Scan(home, wanted, running, plans)
    for trial in wanted.trials:
        if trial not in look.resting:
            exists = "/" not in trial and home.trial(trial).path.is_dir()
            why = "somebody is at work with it, or it is of another study" if exists else "there is no such folder"
            raise RunError(f"--trial {trial}: {why} in {home.path / 'trials'}; give the id of a trial that is at rest")
    return look


def _read_plan(path: Path) -> LastPlan:
    """Read a plan as plain data, because it may contain settings of another version."""
    try:
        plan = read_json(path)
        trials = {trial["id"]: trial for trial in plan["trials"]}
        return LastPlan(path.parents[2].name, str(plan["metrics"][0]), trials)
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise RunError(f"{path}: no plan ({error}); delete it: the next run of the study writes it") from error


def _find_leftovers(look: Scan) -> Iterator[Removable]:
    home = look.home.path
    for trial, folder in look.resting.items():
        for path in () if trial in look.going else folder.path.rglob("*"):
            if why := _explain_leftover(path, folder.path):
                yield Removable("leftovers", path, why, folder.path / "lock", trial)
    places = [path for path in home.glob("studies/*") if look.wanted.study in ("", path.name)]
    files = [path for place in places if place.name not in look.running for path in place.rglob("*")]
    if look.quiet and not look.wanted.study:
        places = [home / name for name in ("stages", "evals", "critics", "views", "cache/report")]
        files += [*home.glob(".*"), *(path for place in places for path in place.rglob("*"))]
    for path in files:
        if (why := _explain_leftover(path, home)) and (path.name.startswith(AWAY) or _is_settled(path)):
            yield Removable("leftovers", path, why)


def _explain_leftover(path: Path, above: Path) -> str:
    """Return why a file or folder below `above` is a leftover; empty if it is none, or is in another one."""
    half = _HALF.fullmatch(path.name)
    if not (half or _OLD_LOG.fullmatch(path.name)):
        return ""
    if any(map(_HALF.fullmatch, path.relative_to(above).parent.parts)):
        return ""
    return "a killed process left it half-written" if half else "an older part of a log that outgrew its limit"


def _is_settled(path: Path) -> bool:
    return all(time.time() - each.stat().st_mtime > SETTLED_SECONDS for each in (path, *path.rglob("*")))


def _find_unused(look: Scan) -> Iterator[Removable]:
    for trial in sorted(look.going.difference(look.wanted.trials)):
        folder = look.resting[trial]
        yield Removable("unused", folder.path, "unfinished, and in no study's plan", folder.path / "lock", trial)
    needed = _find_needed(look) if look.quiet else None
    if needed is None:
        return
    had = {stage for trial in look.going for stage in look.home.trial(trial).shared()}
    for kind in get_args(StageKind):
        for path in sorted((look.home.path / "stages" / kind).glob("[!.]*")):
            if path.is_dir() and path not in needed and (path in had or not look.wanted.study):
                yield Removable("unused", path, "no trial needs it", look.home.stage_lock(kind, path.name))


def _find_needed(look: Scan) -> set[Path] | None:
    """Return the stages that planned trials and remaining finished trials need; None if a trial cannot be read."""
    needed: set[Path] = set()
    folders = {folder.path.name: folder for folder in look.trials}
    for trial in {*look.planned, *folders} - look.going:
        folder = look.home.trial(trial)
        try:
            record = look.planned.get(trial) or read_json(folder.config)
            keys = folder.keys() if folder.done else hash_stages(record["identity"], record["seed"])
            needed.update(list_stages(look.home, record["identity"], keys))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
    return needed


def _find_models(look: Scan) -> Iterator[Removable]:
    count = look.wanted.keep_models
    if count is None:
        return
    done = {trial for trial, folder in look.resting.items() if folder.done} - look.going
    goes = (done & look.planned.keys() if count else done) - (_select_best(look, done, count) if count else set())
    trained: dict[Path, set[str]] = defaultdict(set)
    for folder in look.trials:
        trained[folder.trained].add(folder.path.name)
    policy = f"best:{count}" if count else "none"
    for path, trials in trained.items():
        if (path / "model").is_dir() and goes >= trials:
            trial = min(trials)
            why = f"not among those that --keep-models {policy} keeps"
            yield Removable("models", path / "model", why, look.home.trial(trial).path / "lock", trial)


def _select_best(look: Scan, done: Collection[str], count: int) -> set[str]:
    """Return the trials whose weights are kept: the best of each variant of each plan, and those without the metric.

    Raises:
        RunError: A plan's primary metric is neither better high nor low.
    """
    kept: set[str] = set()
    for plan in look.plans:
        if plan.trials.keys().isdisjoint(done):
            continue
        better = measure(plan.metric).better
        if better == "neither":
            raise RunError(
                f"study {plan.study}: its primary metric, {plan.metric}, is neither better high nor low; "
                "keep all models or none"
            )
        variants: dict[str, list[tuple[float, str]]] = defaultdict(list)
        for trial in filter(lambda trial: look.home.trial(trial).done, plan.trials):
            value = read_json(look.home.trial(trial).metrics)["metrics"].get(plan.metric)
            if value is None:
                kept.add(trial)
            else:
                variants[plan.trials[trial]["variant"]].append((-value if better == "higher" else value, trial))
        kept |= {trial for ranked in variants.values() for _, trial in sorted(ranked)[:count]}
    return kept


def _find_trials(look: Scan) -> Iterator[Removable]:
    for trial in look.wanted.trials:
        path = look.home.trial(trial).path
        pending = " (it is pending again then)" if trial in look.planned else ""
        yield Removable("trials", path, f"picked by name{pending}", path / "lock", trial)


def _find_caches(look: Scan) -> Iterator[Removable]:
    """Yield caches of reports and pages of resting trials; a page without its trial stays: it cannot be made again."""
    mine = {look.wanted.study, *look.resting}
    for path in sorted(look.home.digests.glob("[!.]*.json")):
        if not look.wanted.study or path.name.split(".")[0] in mine:
            yield Removable("caches", path, "the next report works it out again")
    for trial, folder in look.resting.items():
        page = look.home.view(trial)
        if page.exists() and (folder.rollouts.is_dir() or trial in look.going):
            why = "its trial goes" if trial in look.going else "`capo-bench view` writes it again"
            yield Removable("caches", page, why, folder.path / "lock", trial)


_FINDERS = {
    "leftovers": _find_leftovers,
    "unused": _find_unused,
    "models": _find_models,
    "trials": _find_trials,
    "caches": _find_caches,
}

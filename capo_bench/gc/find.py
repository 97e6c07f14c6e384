"""What in a results folder may go, kind by kind. Reads only; what somebody is at work with is passed over.

Of a finished trial its samples, rollouts, metrics and logs are never found: they go with the whole trial alone, which
is picked by name.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import get_args

from capo_bench.gc.free import AWAY
from capo_bench.gc.removable import KINDS, Removable
from capo_bench.gc.studies import Mentioned, best, mentioned
from capo_bench.store.errors import RunError
from capo_bench.store.home import Home, StageKind, StudyFolder, TrialFolder, read_json
from capo_bench.store.lock import locked
from capo_bench.store.walk import stages_of
from capo_bench.study.identity import digest, identity_of, stage_keys, trial_id
from evals.files import torn
from trainers.checkpoints import MARK
from trainers.config import TrialConfig
from trainers.critics.store import FILE

HALF_WRITTEN = "a killed process left it half-written"
SETTLED_SECONDS = 3600.0
"""No lock guards a file that a report writes; one that is older is of a process that is gone."""


@dataclass(frozen=True)
class GcRequest:
    """What the user wants freed, and of which study's trials; empty: of the whole folder.

    Attributes:
        keep_models: How many trained models of each variant are kept; None: all.
        by: The metric that says which; empty: each study's primary one.
        trials: Ids of whole trials.
        abandoned_after: A trial that was stopped or failed so many seconds ago will not go on; None: it may always.
    """

    study: str = ""
    kinds: Collection[str] = tuple(KINDS)
    keep_models: int | None = None
    by: str = ""
    trials: Collection[str] = ()
    abandoned_after: float | None = None


@dataclass(frozen=True)
class Scan:
    """One pass over a results folder: what is wanted, and what the studies refer to."""

    home: Home
    wanted: GcRequest
    studies: list[Mentioned] = field(default_factory=list)

    def items(self) -> list[Removable]:
        """Return what may go, each once, in the order of the kinds.

        Raises:
            RunError: A trial is picked that is not there or is being worked on; trials cannot be ranked.
        """
        items = dict.fromkeys(item for kind in KINDS if kind in self.wanted.kinds for item in _FINDERS[kind](self))
        return [item for item in items if item.lock is None or not locked(item.lock)]

    @cached_property
    def busy(self) -> frozenset[str]:
        """Trials that a run which goes on refers to."""
        return frozenset().union(*(study.wanted for study in self.studies if study.running))

    @cached_property
    def quiet(self) -> bool:
        """Whether nobody runs a study, an evaluation or a measurement of a critic."""
        locks = [path for kind in ("evals", "critics") for path in self.home.path.glob(f"{kind}/*/lock")]
        return not any(study.running for study in self.studies) and not any(map(locked, locks))

    @cached_property
    def trials(self) -> list[TrialFolder]:
        """All trials in the folder."""
        return [TrialFolder(path) for path in sorted((self.home.path / "trials").glob("[!.]*")) if path.is_dir()]

    @cached_property
    def folders(self) -> list[TrialFolder]:
        """The trials in the folder, or those of the study, that nobody works on."""
        named = frozenset().union(*(study.ever for study in self.asked))
        return [
            folder
            for folder in self.trials
            if (not self.wanted.study or folder.path.name in named)
            and folder.path.name not in self.busy
            and not locked(folder.path / "lock")
        ]

    @cached_property
    def whole(self) -> frozenset[str]:
        """Trials that go as a whole."""
        return frozenset(self.wanted.trials) | {item.trial for item in _orphans(self)}

    @cached_property
    def parts(self) -> list[TrialFolder]:
        """The trials that stay, of which parts may go."""
        return [folder for folder in self.folders if folder.path.name not in self.whole]

    @property
    def asked(self) -> list[Mentioned]:
        """The studies in the folder, or the one that is wanted."""
        return [study for study in self.studies if self.wanted.study in ("", study.name)]

    @property
    def resting(self) -> list[StudyFolder]:
        """Those of them of which no run goes on."""
        return [self.home.study(study.name) for study in self.asked if not study.running]

    def refers(self, trial: str) -> bool:
        """Whether a study's newest plans have a trial."""
        return any(trial in study.wanted for study in self.studies)

    @cached_property
    def finished_orphans(self) -> list[str]:
        """The finished trials that no study's newest plans have: they stay unless picked by name."""
        return [folder.path.name for folder in self.parts if folder.done and not self.refers(folder.path.name)]


def scan(home: Home, wanted: GcRequest, running: Collection[str] | None = None) -> Scan:
    """Look at a results folder; `running` are the studies of which a run goes on, None asks their locks.

    Raises:
        RunError: A ledger cannot be read, or there is no such study or trial.
    """
    studies = mentioned(home, running)
    names = [study.name for study in studies]
    if wanted.study and wanted.study not in names:
        raise RunError(
            f"no study {wanted.study!r} has been run in {home.path}; there are: {', '.join(names) or 'none'}"
        )
    look = Scan(home, wanted, studies)
    free = {folder.path.name for folder in look.folders}
    for trial in wanted.trials:
        if trial not in free:
            exists = "/" not in trial and home.trial(trial).path.is_dir()
            why = "somebody is at work with it, or it is of another study" if exists else "there is no such folder"
            raise RunError(f"--trial {trial}: {why} in {home.path / 'trials'}; give the id of a trial that is at rest")
    return look


def _of(kind: str, folder: TrialFolder, path: Path, why: str) -> Removable:
    return Removable(kind, path, why, folder.path / "lock", folder.path.name)


def _leftovers(look: Scan) -> Iterator[Removable]:
    for folder in look.parts:
        half = [folder.path / name for name in ("training/.model", f"training/{AWAY}", ".launch", AWAY)]
        for path in (*filter(Path.exists, half), *_unmarked(folder.checkpoints), *torn(folder.path)):
            yield _of("leftovers", folder, path, HALF_WRITTEN)
    for study in look.resting:
        for path in sorted(study.path.glob(f".{study.now.name}.*")):
            yield Removable("leftovers", path, HALF_WRITTEN)
    if look.wanted.study:
        return
    home = look.home.path
    for kind in get_args(StageKind):
        for path in (home / "stages" / kind).glob(".*.making"):
            lock = look.home.stage_lock(kind, path.name[1:].partition(".")[0])
            yield Removable("leftovers", path, HALF_WRITTEN, lock)
    for place in ("trials", "stages/*", "stages/*/*", "cache/report"):
        for path in home.glob(f"{place}/{AWAY}"):
            yield Removable("leftovers", path, "a killed gc left it")
    for part in ("cache/report", "studies", "evals", "critics", "views"):
        for path in torn(home / part):
            if time.time() - path.stat().st_mtime > SETTLED_SECONDS:
                yield Removable("leftovers", path, HALF_WRITTEN)


def _unmarked(checkpoints: Path) -> list[Path]:
    """Return the checkpoints that nothing goes on from: those beside the one that is marked."""
    marked = None
    with suppress(OSError, ValueError, KeyError, TypeError):
        marked = read_json(checkpoints / MARK)["checkpoint"]
    return [path for path in sorted(checkpoints.glob("checkpoint-*")) if path.name != marked]


def _checkpoints(look: Scan) -> Iterator[Removable]:
    for folder in look.parts:
        if folder.checkpoints.exists() and (why := _over(look, folder)):
            yield _of("checkpoints", folder, folder.checkpoints, why)


def _over(look: Scan, folder: TrialFolder) -> str:
    """Return why a trial goes on from no checkpoint; empty if it may."""
    if folder.done:
        return "the trial has finished"
    after = look.wanted.abandoned_after
    if after is None:
        return ""
    touched = max(path.stat().st_mtime for path in (folder.checkpoints, *folder.checkpoints.iterdir()))
    return "the trial was left longer ago than --abandoned-after" if time.time() - touched > after else ""


def _orphans(look: Scan) -> Iterator[Removable]:
    for folder in look.folders:
        trial = folder.path.name
        if not folder.done and not look.refers(trial) and (why := _superseded(look, folder)):
            yield _of("orphans", folder, folder.path, why)


def _superseded(look: Scan, folder: TrialFolder) -> str:
    """Return why no study will have an unfinished trial again; empty where one may, run with other ``--only``."""
    if not any(folder.path.name in study.ever for study in look.studies):
        return "unfinished, and no study names it"
    try:
        record = read_json(folder.config)
        today = trial_id(digest(identity_of(TrialConfig.model_validate(record["config"]))), record["seed"])
    except Exception:  # a backbone or a folder of data that is not here now: it may come back
        return ""
    return "" if today == folder.path.name else "unfinished, of other code or packages than today's"


def _models(look: Scan) -> Iterator[Removable]:
    count = look.wanted.keep_models
    if count is None:
        return
    named = frozenset().union(*(study.ever for study in look.studies))
    parts = {folder.path.name for folder in look.parts if folder.done}
    ranked = [study for study in look.studies if study.ever & parts]
    kept = best(look.home, ranked, count, look.wanted.by) if count else set()
    goes = (parts & named if count else parts) - kept
    trained: dict[Path, set[str]] = defaultdict(set)
    for folder in look.trials:
        trained[folder.trained].add(folder.path.name)
    policy = f"best:{count}" if count else "none"
    for path, trials in trained.items():
        if (path / "model").is_dir() and goes >= trials:
            folder = look.home.trial(min(trials))
            yield _of("models", folder, path / "model", f"not among those that --keep-models {policy} keeps")


def _trials(look: Scan) -> Iterator[Removable]:
    for trial in look.wanted.trials:
        folder = look.home.trial(trial)
        pending = " (it is pending again then)" if look.refers(trial) else ""
        yield _of("trials", folder, folder.path, f"picked by name{pending}")


def _stages(look: Scan) -> Iterator[Removable]:
    """What stands under keys that no trial needs.

    While a trial is pending whose needs are not known, only what a trial had that goes.
    """
    needed = _needed(look) if look.quiet else None
    if needed is None:
        return
    pending = any(not look.home.trial(trial).config.exists() for study in look.studies for trial in study.wanted)
    going = {stage for trial in look.whole for stage in look.home.trial(trial).shared()}
    for kind in get_args(StageKind):
        for path in sorted((look.home.path / "stages" / kind).glob("[!.]*")):
            lock = look.home.stage_lock(kind, path.stem)
            if path == lock and not lock.with_suffix("").exists():
                yield Removable("stages", path, "a lock that nobody holds", lock)
            elif path.is_dir() and path not in needed and (path in going or not (pending or look.wanted.study)):
                yield Removable("stages", path, "no trial needs it", lock)


def _needed(look: Scan) -> set[Path] | None:
    """Return the stages that trials which stay need; None if a trial cannot be read."""
    needed: set[Path] = set()
    for folder in look.trials:
        if folder.path.name in look.whole or not folder.config.exists():
            continue
        try:
            record = read_json(folder.config)
            keys = folder.keys() if folder.done else stage_keys(record["identity"], record["seed"])
            needed.update(stages_of(look.home, record["identity"], keys))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
    return needed


def _digests(look: Scan) -> Iterator[Removable]:
    mine = {look.wanted.study, *(folder.path.name for folder in look.folders)}
    for path in sorted(look.home.digests.glob("[!.]*.json")):
        if not look.wanted.study or path.name.split(".")[0] in mine:
            yield Removable("digests", path, "the next report works it out again")


def _views(look: Scan) -> Iterator[Removable]:
    """Pages of trials at rest; one whose trial is gone stays, for nothing can write it again."""
    for folder in look.folders:
        trial = folder.path.name
        page = look.home.view(trial)
        if page.exists() and (folder.rollouts.is_dir() or trial in look.whole):
            why = "its trial goes" if trial in look.whole else "`capo-bench view` writes it again"
            yield _of("views", folder, page, why)


def _critiques(look: Scan) -> Iterator[Removable]:
    if not look.wanted.study and look.home.critiques is not None and (look.home.critiques / FILE).exists():
        yield Removable("critiques", look.home.critiques / FILE, "beyond its limit, or unused space")


def _logs(look: Scan) -> Iterator[Removable]:
    why = "an older part of a log that outgrew its limit"
    for folder in look.parts:
        yield from (_of("logs", folder, path, why) for path in sorted(folder.path.glob("*.log.[0-9]")))
    for study in look.resting:
        yield from (Removable("logs", path, why) for path in sorted(study.path.glob("*.log.[0-9]")))


_FINDERS = {
    "leftovers": _leftovers,
    "checkpoints": _checkpoints,
    "orphans": _orphans,
    "models": _models,
    "trials": _trials,
    "stages": _stages,
    "digests": _digests,
    "views": _views,
    "critiques": _critiques,
    "logs": _logs,
}

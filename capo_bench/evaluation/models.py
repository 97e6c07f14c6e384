"""The model that a word on the command line names: a folder, a repository, or a trial's policy."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capo_bench.store.errors import RefusedError
from capo_bench.store.home import Home, TrialFolder, read_json
from evals.registry import find_nearest

_ID = re.compile(r"[0-9a-f]{4,12}")


@dataclass(frozen=True)
class Named:
    """A model to open, its other settings (template, precision, revision), and the id of the trial that trained it."""

    model: str
    settings: dict[str, str]
    trial: str | None = None


def find_model(word: str, home: Home) -> Named:
    """Return the model of a word: the id of a trial (or the beginning of one), its folder, or the word itself.

    Raises:
        RefusedError: The word names several trials, or one without a model.
    """
    folder = _find_trial(word, home)
    if folder is None:
        return Named(word, {})
    from trainers.backbones import BACKBONES

    try:
        record = read_json(folder.config)
        backbone = BACKBONES.load(record["config"]["backbone"])
        record["config"]["method"], record["identity"]["training"].get("cold_start")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        way_out = "run its study again, or name the model's own folder"
        raise RefusedError([f"{folder.config} is no record of a trial ({error}); {way_out}"]) from error
    settings: dict[str, str] = {"template": backbone.template, "dtype": backbone.precision}
    if _is_untrained(record) and _read_cold_start(record) is None and backbone.model is not None:
        of_the_hub = {"revision": backbone.revision} if backbone.revision else {}
        return Named(backbone.model, {**settings, **of_the_hub}, folder.path.name)
    return Named(str(_find_policy(word, folder, record, home)), settings, folder.path.name)


def find_similar_trials(word: str, home: Home) -> list[str] | None:
    """Return the trials that a mistyped word may mean; None if it may name a repository instead.

    A word without a slash that looks like an id, or like one of the trials here, is never looked up on the hub.
    """
    if "/" in word:
        return None
    close = find_nearest(word, [path.parent.name for path in home.path.glob("trials/*/config.json")], most=3)
    return close if close or _ID.fullmatch(word) else None


def fingerprint_weights(model: str, revision: str | None) -> dict[str, Any]:
    """Return the identity of weights without loading them: content of a folder, or name and revision.

    Raises:
        RefusedError: The folder holds no model.
    """
    if not Path(model).expanduser().is_dir():
        return {"model": model, "revision": revision}
    from evals.fingerprint import fingerprint_settings
    from evals.models.base import ModelError
    from evals.models.folders import locate

    try:
        place = locate(model, revision)
    except ModelError as error:
        raise RefusedError([str(error)]) from error
    folders = [Path(each) for each in dict.fromkeys((place.model, place.tokenizer)) if Path(each).is_dir()]
    return {**place.identity(), "settings": [fingerprint_settings(folder) for folder in folders]}


def _find_trial(word: str, home: Home) -> TrialFolder | None:
    folder = TrialFolder(Path(word).absolute())
    if folder.config.is_file() and (folder.provenance.is_file() or folder.steps.is_file() or folder.done):
        return folder
    if Path(word).exists() or not _ID.fullmatch(word):
        return None
    hits = [path for path in sorted((home.path / "trials").glob(f"{word}*")) if (path / "config.json").is_file()]
    if len(hits) > 1:
        ids = ", ".join(path.name for path in hits)
        raise RefusedError([f"{word}: {len(hits)} trials of {home.path} begin so ({ids}); write more of the id"])
    return TrialFolder(hits[0]) if hits else None


def _find_policy(word: str, folder: TrialFolder, record: Any, home: Home) -> Path:
    """Return the folder of a trial's policy; that of the cold start if the method trains nothing."""
    start = _read_cold_start(record)
    policy = home.stage("cold_start", start) if start is not None and _is_untrained(record) else folder.model
    if not policy.is_dir():
        raise RefusedError([f"{word}: trial {folder.path.name} has no model in {policy} yet; finish its study first"])
    return policy


def _is_untrained(record: Any) -> bool:
    from trainers.methods import METHODS

    return METHODS.get(record["config"]["method"]).train is None


def _read_cold_start(record: Any) -> str | None:
    start = record["identity"]["training"].get("cold_start")
    return None if start is None else str(start["key"])

"""Freeing: under the locks of all that rests, one thing after another, each there or gone and never half.

A folder is renamed away and then deleted: a trial whose deletion is killed is pending, not broken. What is left of it
lies in a folder that says so, and goes with the next time.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from capo_bench.gc.removable import AWAY, Removable
from capo_bench.run.state import holder_of, started_studies
from capo_bench.store.errors import RunError, StudyLockedError
from capo_bench.store.home import Home
from capo_bench.store.lock import study_lock, wait_for_lock


@contextmanager
def at_rest(home: Home, study: str = "") -> Iterator[set[str]]:
    """Hold the locks of all studies that nobody runs, so that none starts meanwhile, and that of freeing itself.

    Yields:
        The studies that somebody runs.

    Raises:
        StudyLockedError: Somebody frees already, or runs the study that is asked for.
    """
    with ExitStack() as held:
        held.enter_context(study_lock(home.path / "cache" / "gc.lock", "clean-up"))
        yield {name for name in started_studies(home) if not _hold(held, home, name, must=name == study)}


def _hold(held: ExitStack, home: Home, study: str, *, must: bool) -> bool:
    """Hold a study's lock until the end of `held`; false if somebody runs it, an error if it must not be so."""
    folder = home.study(study)
    holder = holder_of(folder)
    if holder is not None and not holder.checked:  # on another machine, whose lock is not seen here
        if must:
            who = f"process {holder.pid} on {holder.host} since {holder.since}"
            raise StudyLockedError(f"{folder.path}: this study is being run by {who}; wait for it to end")
        return False
    try:
        held.enter_context(study_lock(folder.lock))
    except StudyLockedError:
        if must:
            raise
        return False
    return True


def free(home: Home, items: Sequence[Removable]) -> list[str]:
    """Free things; call it within `at_rest`. One that somebody works with by now is left alone.

    Returns:
        What could not be freed, as sentences.
    """
    troubles: list[str] = []
    for item in items:
        with ExitStack() as held:
            if item.lock is None or held.enter_context(_taken(item.lock)):
                try:
                    _free(home, item)
                except OSError as error:
                    troubles.append(f"{item.path}: {error}; check its permissions, then run it again")
            else:
                troubles.append(f"{item.path}: left alone, somebody is at work with it")
    return troubles


@contextmanager
def _taken(lock: Path) -> Iterator[bool]:
    try:
        with wait_for_lock(lock, stop=lambda: True, waiting=lambda: None) as held:
            yield held
    except RunError as error:
        raise OSError(str(error)) from error


def _free(home: Home, item: Removable) -> None:
    if item.path.is_symlink() or not item.path.is_dir():
        item.path.unlink(missing_ok=True)
    elif item.kind == "leftovers":
        shutil.rmtree(item.path)  # half of what is half is no worse
    else:
        away = home.path / AWAY / secrets.token_hex(8)
        away.parent.mkdir(exist_ok=True)
        item.path.rename(away)  # after a kill it is there as it was, or gone
        shutil.rmtree(away)
        with suppress(OSError):  # another is on its way
            away.parent.rmdir()

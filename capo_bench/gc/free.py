"""Freeing: under the locks of all that rests, one thing after another, each there or gone and never half.

A folder is renamed and then deleted: a trial whose deletion is killed is pending, not broken. What is left has a name
by which the next `gc` finds it.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

from capo_bench.gc.removable import AWAY, Removable
from capo_bench.run.state import find_holder, list_started_studies
from capo_bench.store.errors import RunError, StudyLockedError
from capo_bench.store.home import Home, StudyFolder
from capo_bench.store.lock import hold_lock, wait_for_lock


@contextmanager
def hold_at_rest(home: Home, study: str = "") -> Iterator[set[str]]:
    """Hold the locks of all studies that nobody runs, so that none starts meanwhile, and that of freeing itself.

    Yields:
        The studies that somebody runs.

    Raises:
        StudyLockedError: Somebody frees already, or runs the study that is asked for.
    """
    with ExitStack() as held:
        held.enter_context(hold_lock(home.path / "cache" / "gc.lock", "clean-up"))
        running = set()
        for name in list_started_studies(home):
            try:
                held.enter_context(_lock_of(home.study(name)))
            except StudyLockedError:
                if name == study:
                    raise
                running.add(name)
        yield running


def _lock_of(study: StudyFolder) -> AbstractContextManager[None]:
    """Return the lock of a study, to be held; refuses one that runs on another machine, whose lock is not seen here."""
    holder = find_holder(study)
    if holder is not None and not holder.checked:
        raise StudyLockedError(f"{study.path}: this study is being run by {holder}; wait for it to end")
    return hold_lock(study.lock)


def free(home: Home, items: Sequence[Removable]) -> list[str]:
    """Free things; call it within `hold_at_rest`. One that somebody works with by now is left alone.

    Returns:
        What could not be freed, as sentences.
    """
    troubles: list[str] = []
    for item in items:
        try:
            with wait_for_lock(item.lock, lambda: True, lambda: None) if item.lock else nullcontext(True) as held:
                if held:
                    _free(home, item)
                else:
                    troubles.append(f"{item.path}: left alone, somebody is at work with it")
        except (OSError, RunError) as error:
            troubles.append(f"{item.path}: {error}; check its permissions, then run it again")
    return troubles


def _free(home: Home, item: Removable) -> None:
    if item.path.is_symlink() or not item.path.is_dir():
        item.path.unlink(missing_ok=True)
    else:
        away = home.path / f"{AWAY}.{secrets.token_hex(8)}"
        item.path.rename(away)  # after a kill it is there as it was, or gone
        shutil.rmtree(away)

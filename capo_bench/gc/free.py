"""Delete one item after another, under the locks of all studies that are not running.

A folder is renamed before it is deleted, so that it is complete or gone whenever `gc` is killed: the trial is pending
then, not broken. The next `gc` finds the renamed folder by its name.
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
    """Hold the locks of all studies that are not running, so that none starts meanwhile, and the lock of `gc`.

    Yields:
        The running studies.

    Raises:
        StudyLockedError: Another `gc` is running, or `study` is.
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
    """Return the lock of a study, to be held; refuse one that runs on another machine: its lock is invisible here."""
    holder = find_holder(study)
    if holder is not None and not holder.checked:
        raise StudyLockedError(f"{study.path}: this study is being run by {holder}; wait for it to end")
    return hold_lock(study.lock)


def free(home: Home, items: Sequence[Removable]) -> list[str]:
    """Delete items; call it within `hold_at_rest`. An item that a process works on by now is left alone.

    Returns:
        A sentence for each item that could not be deleted.
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
        item.path.rename(away)  # a kill leaves it complete or gone
        shutil.rmtree(away)

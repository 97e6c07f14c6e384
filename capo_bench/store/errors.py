"""Errors that end a run or refuse a request. A trial that fails is data: it is recorded in the ledger."""

from __future__ import annotations

from collections.abc import Sequence


class RunError(Exception):
    """A command cannot start or continue; the message names the file, the cause and the way out. Exit code 2."""


class StudyLockedError(RunError):
    """Another process runs the same study in the same results folder."""


class RefusedError(RunError):
    """A request is refused; the message has one error per line, each with value, rule and way out."""

    def __init__(self, flaws: Sequence[str]) -> None:
        super().__init__("\n".join(dict.fromkeys(flaws)))

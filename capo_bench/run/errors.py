"""What can end a whole run, as opposed to one trial: a failed trial is data and goes to the ledger."""

from __future__ import annotations


class RunError(Exception):
    """The run cannot start or go on; the message names the file, the cause and the way out."""


class StudyLockedError(RunError):
    """Another process runs the same study in the same results folder."""

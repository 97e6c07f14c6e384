"""Score a task's responses when plain lm-eval runs it: lm-eval's filter and ``process_results``."""

from __future__ import annotations

import atexit
from collections.abc import Mapping, Sequence
from functools import cache
from statistics import fmean
from typing import Any

from evals.tasks.canonical import get_form
from evals.verify import Verifier


def all_responses(responses: Sequence[Sequence[str]], docs: Any) -> Sequence[Sequence[str]]:
    """Return all k responses of each doc; lm-eval's own filters return the first, or a number that must be repeated."""
    return responses


def verified(doc: Mapping[str, Any], results: Sequence[Sequence[str]]) -> dict[str, float]:
    """Return the metrics of one doc's k responses.

    Returns:
        accuracy: Share of right answers among those that the verifier could judge (avg@k). It is absent if the verifier
            judged none, so that the doc is left out.
        no_answer: Share of responses without a final answer; they are wrong.
        unscored: Share of responses for which the verifier abstained.
    """
    (responses,) = results
    verdicts = _get_verifier().verify([(text, doc["answer"]) for text in responses], [get_form(doc)] * len(responses))
    judged = [bool(verdict.correct) for verdict in verdicts if verdict.correct is not None]
    return {
        **({"accuracy": fmean(judged)} if judged else {}),
        "no_answer": fmean(verdict.status == "no_answer" for verdict in verdicts),
        "unscored": fmean(verdict.correct is None for verdict in verdicts),
    }


@cache
def _get_verifier() -> Verifier:
    """Return the only verifier of the process; its workers end with the process."""
    verifier = Verifier()
    atexit.register(verifier.close)
    return verifier

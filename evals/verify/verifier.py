"""From completions to verdicts."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Literal

from evals.verify import answers, rules
from evals.verify.pool import Outcome, Pool

Status = Literal["right", "wrong", "no_answer", "rejected", "timeout", "memory", "crash"]

_CORRECT: dict[Status, bool | None] = {"right": True, "wrong": False, "no_answer": False, "rejected": False}
_REMEMBERED = 65_536
_LEAST_MEMORY_MB = 256  # a worker is renewed at half its memory, and sympy needs 60 MiB to start with


@dataclass(frozen=True)
class Verdict:
    """What the verifier says of one completion.

    Attributes:
        correct: Whether the answer is the reference; None is an abstention, to be counted and left out, never a 0.
        status: Why. ``no_answer`` and ``rejected`` (an answer over the caps of `rules`) are wrong by rule;
            ``timeout``, ``memory`` and ``crash`` are abstentions.
        answer: The answer as compared; None without one. Cut to the longest that would be parsed.
        seconds: What the comparison took in a worker; 0 when no worker was asked.
    """

    correct: bool | None
    status: Status
    answer: str | None
    seconds: float


class Verifier:
    """Verify completions against references. Processes start when an answer first needs one.

    May be used from several threads at once (calls take turns) and in any thread; not across a fork.

    Args:
        workers: Worker processes at most.
        deadline_s: Seconds one answer may take; wall-clock time.
        memory_mb: Resident MiB a worker may reach; at least 256.
        style: Where an answer may stand in a completion, see `answers`.

    Raises:
        ValueError: A limit is too small.
    """

    def __init__(
        self,
        workers: int = 1,
        deadline_s: float = 3.0,
        memory_mb: int = 1024,
        style: answers.AnswerStyle = "stated",
    ) -> None:
        if workers < 1 or deadline_s <= 0 or memory_mb < _LEAST_MEMORY_MB:
            raise ValueError(
                f"workers {workers}, deadline_s {deadline_s}, memory_mb {memory_mb}: a verifier has a worker or more, "
                f"a positive deadline and at least {_LEAST_MEMORY_MB} MiB a worker"
            )
        self.pool = Pool(workers, deadline_s, memory_mb)
        self._style = style
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, str], Outcome] = OrderedDict()

    def __enter__(self) -> Verifier:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every worker process. A later call of `verify` starts new ones."""
        with self._lock:
            self.pool.close()

    def verify(self, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
        r"""Return a verdict for each (completion, reference), in order.

        A reference is the answer itself (``"\\frac{1}{2}"``) or a text that boxes it.

        Raises:
            WorkerStartError: An answer needs a worker and none can be started.
        """
        verdicts: list[Verdict | None] = []
        asked: list[tuple[str, str]] = []
        for completion, reference in pairs:
            verdict, question = self._by_rule(completion, reference)
            verdicts.append(verdict)
            asked.append(question)
        open_questions = [question for verdict, question in zip(verdicts, asked, strict=True) if verdict is None]
        found = self._by_worker(open_questions) if open_questions else {}
        return [
            verdict or _verdict(found[question].word, question[0], found[question].seconds)
            for verdict, question in zip(verdicts, asked, strict=True)
        ]

    def _by_rule(self, completion: str, reference: str) -> tuple[Verdict | None, tuple[str, str]]:
        """Decide without a worker where that is possible; else return the (answer, reference) to ask about."""
        raw = answers.extract(completion, self._style)
        boxed = answers.boxed(reference)
        gold = answers.clean(reference if boxed is None else boxed)
        if raw is None:
            return _verdict("no_answer", None), ("", gold)
        # Text that is the reference is right before any cap: the caps must not make a problem unanswerable.
        if raw != gold and rules.broken_cap(raw):
            return _verdict("rejected", raw[: rules.MAX_LENGTH]), (raw, gold)
        answer = answers.clean(raw)
        if not answer:
            return _verdict("no_answer", None), (answer, gold)
        equal = True if answer == gold else rules.equal_numbers(answer, gold)
        return (None if equal is None else _verdict("right" if equal else "wrong", answer)), (answer, gold)

    def _by_worker(self, questions: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Outcome]:
        """Ask the pool what is not known yet. A crash is not remembered: it may have come from outside."""
        with self._lock:
            wanted = dict.fromkeys(questions)
            found = {question: self._known[question] for question in wanted if question in self._known}
            for question in found:
                self._known.move_to_end(question)
            new = [question for question in wanted if question not in found]
            for question, outcome in zip(new, self.pool.run(new), strict=True):
                found[question] = outcome
                if outcome.word != "crash":
                    self._known[question] = replace(outcome, seconds=0.0)
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
            return found


def _verdict(status: Status, answer: str | None, seconds: float = 0.0) -> Verdict:
    return Verdict(_CORRECT.get(status), status, answer, seconds)

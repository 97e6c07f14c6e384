"""From completions to verdicts."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Literal

from evals.verify import answers, choices, golds, rules
from evals.verify.forms import Form
from evals.verify.golds import Question
from evals.verify.pool import Outcome, Pool, Task

Status = Literal["right", "wrong", "no_answer", "rejected", "timeout", "memory", "crash"]

_CORRECT: dict[Status, bool | None] = {"right": True, "wrong": False, "no_answer": False, "rejected": False}
_REMEMBERED = 65_536
_LEAST_MEMORY_MB = 256  # a worker is renewed at half its memory, and sympy needs 60 MiB to start with


@dataclass(frozen=True)
class Verdict:
    """The verifier's decision about one completion.

    Attributes:
        correct: Whether the answer is the reference. None is an abstention: it is counted and left out, and is no 0.
        status: Why. ``no_answer`` and ``rejected`` (an answer over the caps of `rules`) are wrong by rule;
            ``timeout``, ``memory`` and ``crash`` are abstentions.
        answer: The answer as compared, cut to the longest that would be parsed; None if there is no answer.
        seconds: Time of the comparison in a worker; 0 when no worker was asked.
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
        deadline_s: Seconds of processor time that one answer may take; by the clock, ten times that. An answer that is
            too slow is tried once more, alone.
        memory_mb: Resident MiB a worker may reach; at least 256.

    Raises:
        ValueError: A limit is too small.
    """

    def __init__(
        self,
        workers: int = 1,
        deadline_s: float = 3.0,
        memory_mb: int = 1024,
    ) -> None:
        if workers < 1 or deadline_s <= 0 or memory_mb < _LEAST_MEMORY_MB:
            raise ValueError(
                f"workers {workers}, deadline_s {deadline_s}, memory_mb {memory_mb}: a verifier has a worker or more, "
                f"a positive deadline and at least {_LEAST_MEMORY_MB} MiB a worker"
            )
        self.pool = Pool(workers, deadline_s, memory_mb)
        self._lock = threading.Lock()
        self._outcomes: OrderedDict[Task, Outcome] = OrderedDict()

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

    def verify(
        self,
        pairs: Sequence[tuple[str, str]],
        forms: Sequence[Form] | None = None,
        style: answers.AnswerStyle = answers.DEFAULT_STYLE,
    ) -> list[Verdict]:
        r"""Return a verdict for each (completion, reference), in order.

        Args:
            pairs: A reference is the answer itself (``"\\frac{1}{2}"``) or a text that boxes it.
            forms: What kind of answer each reference is; without them all are mathematical.
            style: Where an answer may stand in a completion, see `answers`.

        Raises:
            WorkerStartError: An answer needs a worker and none can be started.
        """
        decided = [
            self._judge_by_rule(completion, reference, form, style)
            for (completion, reference), form in zip(pairs, forms or [Form()] * len(pairs), strict=True)
        ]
        questions = [(each.answer, each.reference) for each in decided if isinstance(each, Question)]
        words = self._judge_by_worker(questions) if questions else {}
        verdicts = []
        for each in decided:
            if isinstance(each, Question):
                outcome = words[each.answer, each.reference]
                verdicts.append(_make_verdict(outcome.word, each.shown, outcome.seconds))
            else:
                verdicts.append(each)
        return verdicts

    @staticmethod
    def _judge_by_rule(completion: str, reference: str, form: Form, style: answers.AnswerStyle) -> Verdict | Question:
        """Decide without a worker where that is possible; else return the question for a worker."""
        if form.kind == "choice":
            return _judge_choice(completion, reference, form, style)
        raw = answers.extract(completion, style)
        if raw is None:
            return _make_verdict("no_answer", None)
        gold = golds.read_reference(reference, form)
        # Text that is the reference is right before any cap: the caps must not make a problem unanswerable.
        if raw != gold.text and rules.find_broken_cap(raw):
            return _make_verdict("rejected", raw[: rules.MAX_LENGTH])
        answer = answers.clean(raw)
        if not answer:
            return _make_verdict("no_answer", None)
        return _make_decision(golds.compare(answer, gold, form), answer)

    def _judge_by_worker(self, questions: Sequence[Task]) -> dict[Task, Outcome]:
        """Ask the pool the new questions, those with one reference together, so that a worker parses it once.

        A crash is not remembered: its cause may lie outside.
        """
        with self._lock:
            wanted = dict.fromkeys(questions)
            outcomes = {question: self._outcomes[question] for question in wanted if question in self._outcomes}
            for question in outcomes:
                self._outcomes.move_to_end(question)
            place = {question[1]: number for number, question in enumerate(wanted)}
            new = [question for question in wanted if question not in outcomes]
            new.sort(key=lambda question: place[question[1]])
            for question, outcome in zip(new, self.pool.run(new), strict=True):
                outcomes[question] = outcome
                if outcome.word != "crash":
                    self._outcomes[question] = replace(outcome, seconds=0.0)
            while len(self._outcomes) > _REMEMBERED:
                self._outcomes.popitem(last=False)
            return outcomes


def _judge_choice(completion: str, reference: str, form: Form, style: answers.AnswerStyle) -> Verdict:
    choice = choices.choose(completion, style, form.options)
    if choice is None:
        return _make_verdict("no_answer", None)
    right = choice[1] == (choices.find_letter(reference, form.options) or reference)
    return _make_verdict("right" if right else "wrong", choice[0][: rules.MAX_LENGTH])


def _make_decision(decision: bool | Question, answer: str) -> Verdict | Question:
    return decision if isinstance(decision, Question) else _make_verdict("right" if decision else "wrong", answer)


def _make_verdict(status: Status, answer: str | None, seconds: float = 0.0) -> Verdict:
    return Verdict(_CORRECT.get(status), status, answer, seconds)

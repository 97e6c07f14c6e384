"""Estimate the value of a partial solution: the probability that a policy's continuation reaches the right answer.

For a step t of a rollout, Q_t is this probability after step t, and V is the probability before the first step. The
true advantage of the step is A_t = Q_t − Q_{t−1}: the quantity that any credit method estimates. Here it is estimated
from continuations that the policy samples. With n continuations per state, the standard error of Q is √(Q (1 − Q) / n)
≤ 1/(2 √n), and that of A_t is at most √(1 / (2 n)): 0.05 for n = 200.

All continuations of a state share its prompt and its past (`Model.complete`). A state that several solutions share is
estimated once. Estimates are stored under the content of model, state, sampling and seed.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING

from evals.models.base import Completion, Model, Sampling
from evals.verify.answers import DEFAULT_STYLE, AnswerStyle

if TYPE_CHECKING:
    from evals.verify import Verifier

AT_ONCE = 16
"""Maximum number of states that are estimated and stored at a time."""

Progress = Callable[[int, int], None]
"""Function that is called with the number of estimated states, and of all states."""


@dataclass(frozen=True)
class SolutionState:
    """A partial solution.

    Attributes:
        written: Text of the solution so far.
        room: Maximum number of tokens that may follow.
    """

    prompt: str
    written: str
    answer: str
    room: int

    @property
    def key(self) -> str:
        """Its content hash."""
        return hashlib.sha256(json.dumps([self.prompt, self.written, self.answer, self.room]).encode()).hexdigest()[:24]


def list_states(
    prompt: str, answer: str, pieces: Sequence[str], tokens: Sequence[int], most: int
) -> list[SolutionState]:
    """Return the state of a solution before each step, given its tokens' texts and each step's number of tokens."""
    before = [0, *accumulate(tokens)][: len(tokens)]
    return [SolutionState(prompt, "".join(pieces[:count]), answer, max(most - count, 1)) for count in before]


@dataclass(frozen=True)
class Chance:
    """Number of continuations of a state that reach the right answer, and of those with a verdict."""

    right: int
    drawn: int

    @property
    def value(self) -> float:
        """Q, from 0 to 1; NaN if no continuation has a verdict."""
        return self.right / self.drawn if self.drawn else math.nan

    @property
    def error(self) -> float:
        """Standard error of the value; NaN if no continuation has a verdict."""
        return math.sqrt(self.value * (1 - self.value) / self.drawn) if self.drawn else math.nan


class KeptChances:
    """Estimates, stored on disk if there is a folder: one line per state, in a file named by a hash of all settings.

    Attributes:
        chances: Estimate of each state, by its key.
        tokens: Tokens that the policy read and wrote for the estimates that were added here.
    """

    def __init__(self, folder: Path | None, decided: Mapping[str, object]) -> None:
        digest = hashlib.sha256(json.dumps(decided, sort_keys=True, default=str).encode()).hexdigest()[:24]
        self._path = None if folder is None else folder / f"{digest}.jsonl"
        self.chances: dict[str, Chance] = {}
        self.tokens = 0
        if self._path is not None and self._path.exists():
            for line in self._path.read_text(encoding="utf-8").splitlines():
                self._read(line)

    def _read(self, line: str) -> None:
        try:
            key, right, drawn = json.loads(line)
            self.chances[str(key)] = Chance(int(right), int(drawn))
        except (ValueError, TypeError):
            return  # a kill damaged the line; its state is estimated again

    def add(self, chances: Mapping[str, Chance], tokens: int) -> None:
        """Store estimates by the keys of their states, and count the tokens that they took."""
        self.chances |= chances
        self.tokens += tokens
        if self._path is None or not chances:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        lines = "".join(json.dumps([key, chance.right, chance.drawn]) + "\n" for key, chance in chances.items())
        with self._path.open("a", encoding="utf-8") as file:
            file.write("\n" + lines)  # starts a new line, in case the last one is incomplete


@dataclass(frozen=True)
class Counting:
    """Settings of the estimates.

    Attributes:
        samples: n, the number of continuations per state.
        temperature: Sampling temperature; during training, the policy's own.
    """

    samples: int = 200
    temperature: float = 1.0
    seed: int = 0
    answers: AnswerStyle = DEFAULT_STYLE


def count_chances(  # noqa: PLR0913, PLR0917 - model, verifier, states, settings, store and callback
    model: Model,
    verifier: Verifier,
    states: Sequence[SolutionState],
    counting: Counting,
    kept: KeptChances | None = None,
    tell: Progress = lambda done, of: None,
) -> list[Chance]:
    """Return the estimate of each state; equal states are estimated once.

    The model must be able to continue a text, which chat endpoints cannot.

    Raises:
        ModelError: A state with its continuation is too long for the model.
    """
    kept = KeptChances(None, {}) if kept is None else kept
    # States with the same room are batched together: they end together, and nothing is padded.
    fresh = {state.key: state for state in states if state.key not in kept.chances}
    waiting = sorted(fresh.values(), key=lambda state: (-state.room, state.prompt, state.written))
    done = 0
    for batch in _make_batches(waiting):
        tell(done, len(waiting))
        chances, tokens = _count(model, verifier, batch, counting)
        kept.add({state.key: chance for state, chance in zip(batch, chances, strict=True)}, tokens)
        done += len(batch)
    tell(len(waiting), len(waiting))
    return [kept.chances[state.key] for state in states]


def _make_batches(states: Sequence[SolutionState]) -> Iterator[list[SolutionState]]:
    """Yield batches of at most `AT_ONCE` states with equal room."""
    for _, alike in groupby(states, key=lambda state: state.room):
        while part := list(islice(alike, AT_ONCE)):
            yield part


def _count(
    model: Model, verifier: Verifier, states: Sequence[SolutionState], counting: Counting
) -> tuple[list[Chance], int]:
    """Return the estimate of each state, and the tokens that were read and written for all of them."""
    prompts = [model.prompt(state.prompt) + state.written for state in states]
    sampling = Sampling(counting.temperature, 1.0, states[0].room)
    rows = asyncio.run(model.complete(prompts, counting.samples, sampling, seed=counting.seed))
    pairs = [
        [_make_pair(state, each) for each in row if not each.failed] for state, row in zip(states, rows, strict=True)
    ]
    asked = list(dict.fromkeys(pair for row in pairs for pair in row))
    verdicts = verifier.verify(asked, style=counting.answers)
    correct = {pair: verdict.correct for pair, verdict in zip(asked, verdicts, strict=True)}
    judged = [[correct[pair] for pair in row if correct[pair] is not None] for row in pairs]
    tokens = sum(each.usage.prompt_tokens + each.usage.output_tokens for row in rows for each in row)
    return [Chance(sum(map(bool, row)), len(row)) for row in judged], tokens


def _make_pair(state: SolutionState, completion: Completion) -> tuple[str, str]:
    # As in training, a completion that the token limit truncated has no answer.
    return "" if completion.end == "length" else state.written + completion.text, state.answer

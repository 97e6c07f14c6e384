"""Credited rollouts as the page shows them: every number a text, every text bounded."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from capo_bench.view.credited import Credited
from capo_bench.view.text import clipped, plain_number, signed, visible
from trainers.credit.critique import Critique

MOST_CHARACTERS = 8000
"""Characters of a rollout that are shown, over its steps."""
MOST_STEPS = 80
MOST_TOKENS = 3000
LONGEST_CRITIQUE = 6000
LONGEST_PROMPT = 3000
LONGEST_NAME = 200
LEVELS = 10
"""Shades between no vote and all votes."""


@dataclass(frozen=True)
class ShownStep:
    """One step.

    Attributes:
        number: From 1.
        tokens: What its tokens add to the text; a single text where that was not kept.
        count: How many tokens it has.
        first: Number of its first token in the rollout, from 1.
        level: Shade, from 0 (nothing speaks against it) to `LEVELS` (everything).
        judged: Votes as ``2/4``, or the score as ``0.12``; ``–`` without a verdict.
        reward: Reward of each of its tokens.
        advantage: Advantage of each.
        exact: The advantage with four digits.
        blamed: Whether the vote charges it, or the model calls it rather wrong than right.
        mark: The exact checker's word; empty where there is none.
        spoken: All of this in a sentence.
    """

    number: int
    tokens: tuple[str, ...]
    count: int
    first: int
    level: int
    judged: str
    reward: str
    advantage: str
    exact: str
    blamed: bool
    mark: str
    spoken: str


@dataclass(frozen=True)
class ShownCritique:
    """One critique: its verdict, which steps it flags, and its text."""

    number: int
    verdict: str
    flags: tuple[int, ...]
    abstained: bool
    text: str


@dataclass(frozen=True)
class ShownRollout:
    """One rollout.

    `left_out` says what of it is not shown, `whole` whether tokens are told apart, `unscored` why a process reward
    model gave no scores, if it gave none.
    """

    step: int
    place: int
    problem: str
    prompt: str
    answer: str
    outcome: str
    group: str
    steps: tuple[ShownStep, ...]
    critiques: tuple[ShownCritique, ...]
    unscored: str
    left_out: str
    whole: bool


def shown(one: Credited) -> ShownRollout:
    """Return a rollout ready for the page."""
    rollout = one.rollout
    budget = _Budget()
    steps = tuple(_step(one, place, tokens) for place, tokens in enumerate(_texts(one, budget)))
    more = len(rollout.steps) - len(steps)
    parts = [f"{more:,} more steps" * bool(more), f"{budget.cut:,} more characters" * bool(budget.cut)]
    told = " and ".join(filter(None, parts))
    return ShownRollout(
        step=one.step,
        place=one.place,
        problem=clipped(rollout.problem, LONGEST_NAME),
        prompt=clipped(rollout.prompt.strip(), LONGEST_PROMPT),
        answer=clipped(rollout.answer, LONGEST_NAME),
        outcome=_outcome(rollout.outcome),
        group=_group(one),
        steps=steps,
        critiques=tuple(_critique(number, said) for number, said in enumerate(one.critiques, 1)),
        unscored=_reason(rollout.scored.unscored) if rollout.scored and rollout.scored.unscored else "",
        left_out=f"{told} of this rollout are not shown." if told else "",
        whole=bool(rollout.pieces),
    )


def _outcome(outcome: float | None) -> str:
    return "answer could not be verified" if outcome is None else f"answer {'right' if outcome else 'wrong'}"


def _group(one: Credited) -> str:
    right, unknown = one.group.count(1.0), sum(map(math.isnan, one.group))
    told = f"{right} of the group's {len(one.group)} answers right"
    return f"{told}, {unknown} not verified" if unknown else told


class _Budget:
    """How much of a rollout may still be shown, and what was cut of its text."""

    def __init__(self) -> None:
        self.characters, self.tokens, self.cut = MOST_CHARACTERS, MOST_TOKENS, 0

    def take(self, piece: str) -> str | None:
        """Return what may be shown of a token; None where nothing is left."""
        if self.characters <= 0 or self.tokens <= 0:
            self.cut += len(piece)
            return None
        kept = piece[: self.characters]
        self.cut += len(piece) - len(kept)
        self.characters -= len(kept)
        self.tokens -= 1
        return kept if len(kept) == len(piece) else f"{kept} …"


def _texts(one: Credited, budget: _Budget) -> Iterator[tuple[str, ...]]:
    """Yield the texts of each shown step's tokens, and count what is cut of all steps."""
    for place, pieces in enumerate(_pieces(one)):
        taken = tuple(kept for piece in pieces if (kept := budget.take(piece)) is not None)
        if place < MOST_STEPS:
            yield _broken(taken) if one.rollout.pieces else tuple(map(visible, taken))


def _pieces(one: Credited) -> Iterator[Sequence[str]]:
    rollout, start = one.rollout, 0
    for text, count in zip(rollout.steps, rollout.tokens, strict=True):
        yield rollout.pieces[start : start + count] if rollout.pieces else [text]
        start += count


def _broken(pieces: Sequence[str]) -> tuple[str, ...]:
    """Show line feeds, and break lines at those that have text before and after them in the step."""
    says = [place for place, piece in enumerate(pieces) if piece.strip()]
    texts = []
    for place, piece in enumerate(pieces):
        head, tail = piece, ""
        if not says or place < says[0] or place > says[-1]:
            head, tail = "", piece
        elif place == says[-1]:
            head = piece.rstrip()
            tail = piece[len(head) :]
        texts.append(visible(head.replace("\n", "↵\n") + tail.replace("\n", "↵")) or "◦")
    return tuple(texts)


def _step(one: Credited, place: int, tokens: tuple[str, ...]) -> ShownStep:
    reward, advantage = one.rewards[place], one.advantages[place]
    judged, heard = _judged(one, place)
    told = plain_number(round(reward, 4)) if not math.isnan(reward) else "none" if one.rollout.scored else "unknown"
    truth = one.rollout.truth
    mark = "" if truth is None else "wrong" if place in truth else "right"
    spoken = [f"step {place + 1}", heard, f"reward {told}", f"advantage {signed(advantage)}"]
    if mark == "wrong":
        spoken.append("wrong by the exact checker")
    return ShownStep(
        number=place + 1,
        tokens=tokens,
        count=one.rollout.tokens[place],
        first=sum(one.rollout.tokens[:place]) + 1,
        level=round(LEVELS * one.doubts[place]) if one.doubts else 0,
        judged=judged,
        reward=told,
        advantage=signed(advantage),
        exact=signed(advantage, 4),
        blamed=bool(one.blamed and one.blamed[place]),
        mark=mark,
        spoken=", ".join(spoken),
    )


def _judged(one: Credited, place: int) -> tuple[str, str]:
    """Return what critics, or a process reward model, say of a step, short and in words."""
    if one.rollout.scored is None:
        votes, voters = one.votes[place], one.voters
        if not voters:
            return "–", "no critique has a verdict"
        return f"{votes}/{voters}", f"flagged by {votes} of {voters} critiques"
    if one.rollout.scored.scores is None:
        return "–", "not scored"
    score = f"{one.rollout.scored.scores[place]:.2f}"
    return score, f"score {score}{', doubted' * bool(one.blamed and one.blamed[place])}"


def _reason(name: str) -> str:
    return visible(name).replace("_", " ")


def _critique(number: int, said: Critique) -> ShownCritique:
    flags = tuple(step + 1 for step in sorted(said.wrong or ()))
    if said.wrong is None:
        verdict = f"abstained: {_reason(str(said.abstained))}"
    elif not flags:
        verdict = "no step wrong"
    else:
        verdict = f"flags {'step' if len(flags) == 1 else 'steps'} {', '.join(map(str, flags))}"
    return ShownCritique(number, verdict, flags, said.wrong is None, clipped(said.text, LONGEST_CRITIQUE))

"""All rollouts of a study that were kept, on one page: filters, search, critiques, and the credit of each token.

The page has an index of plain numbers, one entry a rollout, and the rollouts themselves packed by optimizer step, as
gzip in base64, which its script unpacks when one is looked at: ten thousand open as fast as ten. Every text is made
visible and bounded here, and is only ever set as text there.
"""

from __future__ import annotations

import gzip
import json
import math
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from capo_bench.analysis.rollouts import CreditedRollout, CreditedStep, find_most_telling, read_credited, select_steps
from capo_bench.inert import for_page
from capo_bench.pages.page import render_self_contained
from capo_bench.pages.text import clip_text, format_plain, format_signed
from capo_bench.store.errors import RunError
from capo_bench.store.home import TrialFolder
from capo_bench.study.plan import Trial
from evals.files import write_atomic
from trainers.credit.critique import Critique

MOST_ROLLOUTS = 50_000
"""Rollouts of a page; of more, every n-th optimizer step is taken."""

MOST_CHARACTERS, MOST_TOKENS, MOST_STEPS = 8000, 3000, 80
"""Of a rollout that are shown."""

LONGEST_CRITIQUE, LONGEST_PROMPT, LONGEST_NAME = 6000, 3000, 200

Stored = Sequence[tuple[Trial, TrialFolder]]
OnStep = Callable[[int, int], None]


class NoRolloutsError(RunError):
    """No trial has kept rollouts."""


@dataclass(frozen=True)
class _Head:
    """The rollout of a problem in an optimizer step on which critiques disagree most."""

    trial: str
    step: int
    problem: int
    part: int
    rollout: CreditedRollout


@dataclass
class _Shelf:
    """What the page is made of.

    Attributes:
        trials: Variant, seed and id of each trial with rollouts.
        parts: Trial's place, optimizer step and number of rollouts of each packed part.
        index: For each rollout its problem's place, outcome (-1: unknown), flagged steps, and split in per cent.
        heads: The most telling rollout of each problem in each part.
    """

    trials: list[tuple[str, int, str]] = field(default_factory=list)
    parts: list[tuple[int, int, int]] = field(default_factory=list)
    packed: list[str] = field(default_factory=list)
    index: list[tuple[int, int, int, int]] = field(default_factory=list)
    problems: dict[str, int] = field(default_factory=dict)
    heads: list[_Head] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)

    def add(self, step: CreditedStep) -> None:
        """Pack an optimizer step."""
        if step.damaged:
            self.damaged.append(f"{step.trial.variant}, seed {step.trial.seed}: {step.damaged}")
            return
        key = (for_page(step.trial.variant), step.trial.seed, step.trial.id)
        if not self.trials or self.trials[-1] != key:
            self.trials.append(key)
        self.parts.append((len(self.trials) - 1, step.number, len(step.rollouts)))
        rows = json.dumps([encode_rollout(rollout) for rollout in step.rollouts], separators=(",", ":"))
        self.packed.append(b64encode(gzip.compress(rows.encode("utf-8", "replace"), 6, mtime=0)).decode("ascii"))
        problems: dict[int, list[CreditedRollout]] = {}
        for credited in step.rollouts:
            problem = self.problems.setdefault(clip_text(credited.rollout.problem, LONGEST_NAME), len(self.problems))
            problems.setdefault(problem, []).append(credited)
            outcome = -1 if credited.rollout.outcome is None else int(credited.rollout.outcome)
            flagged = sum(map(bool, credited.votes)) if credited.votes else sum(credited.blamed or ())
            self.index.append((problem, outcome, flagged, round(100 * credited.split)))
        for problem, rollouts in problems.items():
            telling = find_most_telling(rollouts) or rollouts[0]
            self.heads.append(_Head(step.trial.id, step.number, problem, len(self.parts) - 1, telling))

    def opening(self, trial: str) -> tuple[list[_Head], bool]:
        """Return what the page opens on, and whether that is one problem: the same before and after training.

        Of the problems that a trial met twice the one furthest apart, then the one that critiques disagree on most;
        where it met none twice, the most disputed rollout of its first and of its last step.
        """
        heads = [head for head in self.heads if head.trial == trial]
        of = {problem: [head for head in heads if head.problem == problem] for problem in {h.problem for h in heads}}
        twice = [(met[0], met[-1]) for met in of.values() if met[0].step < met[-1].step]
        if twice:
            return [*max(twice, key=_rank_by_dispute)], True
        ends = dict.fromkeys(head.step for head in (*heads[:1], *heads[-1:]))
        disputed = [find_most_telling([head.rollout for head in heads if head.step == step]) for step in ends]
        return [head for head in heads if any(head.rollout is rollout for rollout in disputed)], False


def _rank_by_dispute(pair: tuple[_Head, _Head]) -> tuple[int, float]:
    before, after = pair
    return after.step - before.step, before.rollout.split + after.rollout.split


def write_rollouts(
    title: str, trials: Stored, out: Path, *, most: int = MOST_ROLLOUTS, on_step: OnStep = lambda done, of: None
) -> Path:
    """Write the page, and return its path.

    Raises:
        NoRolloutsError: None of the trials has kept any, or none can be read.
    """
    numbers = select_steps(trials, most)
    whole = sum(map(len, numbers.values()))
    if not whole:
        raise NoRolloutsError(
            f"no rollouts to view of {title}: no finished trial has kept any; methods that train by reinforcement keep "
            "theirs, and `capo-bench gc` or a moved folder may have taken them"
        )
    shelf = _Shelf()
    steps = (step for trial, folder in trials for step in read_credited(trial, folder, numbers[trial.id]))
    for done, step in enumerate(steps, 1):
        shelf.add(step)
        on_step(done, whole)
    if not shelf.parts:
        raise NoRolloutsError(
            f"none of the {whole:,} stored steps of {title} can be read; the first: {shelf.damaged[0]}"
        )
    kept = [(trial, folder) for trial, folder in trials if numbers[trial.id]]
    write_atomic(out, _render(title, shelf, _choose_first(kept), _describe_left_out(trials, numbers)))
    return out


def _choose_first(trials: Stored) -> str:
    """Return the first trial that asks a critic, best one that is a language model; else the first."""
    judged = [trial for trial, _ in trials if "critic" in _list_uses(trial)]
    judged.sort(key=lambda trial: trial.config.critic.asks_checker)
    return [*judged, trials[0][0]][0].id


def _list_uses(trial: Trial) -> Any:
    from trainers.methods import METHODS

    return METHODS.get(trial.config.method).uses


def _describe_left_out(trials: Stored, numbers: dict[str, list[int]]) -> str:
    from trainers.rollouts import list_stored_steps

    stored = sum(len(list_stored_steps(folder.rollouts)) for _, folder in trials)
    taken = sum(map(len, numbers.values()))
    return f"{taken:,} of {stored:,} stored optimizer steps are on this page." if taken < stored else ""


def _render(title: str, shelf: _Shelf, first: str, left_out: str) -> str:
    opening, same = shelf.opening(first)
    index = {
        "trials": shelf.trials,
        "parts": shelf.parts,
        "problems": list(shelf.problems),
        "index": [value for row in shelf.index for value in row],
        "opening": [(head.part, head.rollout.place - 1) for head in opening],
        "same": same,
    }
    # An end tag is the only thing that could end the element; JSON may write its sign otherwise.
    data = json.dumps(index, separators=(",", ":")).replace("<", "\\u003c")
    return render_self_contained(
        "rollouts",
        title=title,
        rollouts=len(shelf.index),
        trials=len(shelf.trials),
        notes=[*([left_out] if left_out else []), *(f"Left out: {line}" for line in shelf.damaged)],
        index=data,
        packed=shelf.packed,
    )


def encode_rollout(credited: CreditedRollout) -> dict[str, Any]:
    """Return a rollout as the page's script takes it: every number a text, every text visible and bounded."""
    rollout, budget = credited.rollout, _Budget()
    steps = [_encode_step(credited, place, tokens) for place, tokens in enumerate(_list_texts(credited, budget))]
    more = len(rollout.steps) - len(steps)
    parts = [f"{more:,} more steps" * bool(more), f"{budget.cut:,} more characters" * bool(budget.cut)]
    left_out = " and ".join(filter(None, parts))
    unscored = rollout.scored.unscored if rollout.scored and rollout.scored.unscored else ""
    return {
        "prompt": clip_text(rollout.prompt.strip(), LONGEST_PROMPT),
        "answer": clip_text(rollout.answer, LONGEST_NAME),
        "group": _group(credited),
        "steps": steps,
        "critiques": [_critique(critique) for critique in credited.critiques],
        "scored": rollout.scored is not None,
        "note": " ".join(
            [
                f"{left_out} of this rollout are not shown." * bool(left_out),
                f"Not scored: {for_page(unscored).replace('_', ' ')}." * bool(unscored),
                "" if rollout.pieces else "The text of single tokens was not kept: credit is shown a step.",
            ]
        ).strip(),
    }


def _group(credited: CreditedRollout) -> str:
    right, unknown = credited.group.count(1.0), sum(map(math.isnan, credited.group))
    answers = f"{right} of the group's {len(credited.group)} answers right"
    return f"{answers}, {unknown} not verified" if unknown else answers


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


def _list_texts(credited: CreditedRollout, budget: _Budget) -> Iterator[list[str]]:
    """Yield the texts of each shown step's tokens, and count what is cut of all steps."""
    rollout, start = credited.rollout, 0
    for place, (text, count) in enumerate(zip(rollout.steps, rollout.tokens, strict=True)):
        pieces = rollout.pieces[start : start + count] if rollout.pieces else [text]
        start += count
        taken = [kept for piece in pieces if (kept := budget.take(piece)) is not None]
        if place < MOST_STEPS:
            yield _break_lines(taken) if rollout.pieces else list(map(for_page, taken))


def _break_lines(pieces: Sequence[str]) -> list[str]:
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
        texts.append(for_page(head.replace("\n", "↵\n") + tail.replace("\n", "↵")) or "◦")
    return texts


def _encode_step(credited: CreditedRollout, place: int, tokens: list[str]) -> list[Any]:
    """Return tokens, their number, doubt from 0 to 10, votes or score, reward, advantage, blame, the checker's word."""
    reward, advantage, truth = credited.rewards[place], credited.advantages[place], credited.rollout.truth
    return [
        tokens,
        credited.rollout.tokens[place],
        round(10 * credited.doubts[place]) if credited.doubts else 0,
        _describe_judgment(credited, place),
        "–" if math.isnan(reward) else format_plain(round(reward, 4)),
        "–" if math.isnan(advantage) else format_signed(advantage, 4),
        int(bool(credited.blamed and credited.blamed[place])),
        "" if truth is None else "wrong" if place in truth else "right",
    ]


def _describe_judgment(credited: CreditedRollout, place: int) -> str:
    if credited.rollout.scored is None:
        return f"{credited.votes[place]}/{credited.voters}" if credited.voters else "–"
    return "–" if credited.rollout.scored.scores is None else f"{credited.rollout.scored.scores[place]:.2f}"


def _critique(critique: Critique) -> list[Any]:
    """Return the flagged steps, from 1, or why it abstained, and its words."""
    flags = None if critique.wrong is None else [step + 1 for step in sorted(critique.wrong)]
    return [
        flags,
        for_page(str(critique.abstained or "")).replace("_", " "),
        clip_text(critique.text, LONGEST_CRITIQUE),
    ]

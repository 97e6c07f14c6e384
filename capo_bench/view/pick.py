"""Which rollouts are shown. The same results give the same picks."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from capo_bench.view.credited import Credited

Picking = Literal["interesting", "random", "worst"]
Read = Callable[[int], list[Credited]]
"""Reads an optimizer step; one that is damaged is empty."""

WINDOW = 5
"""Optimizer steps at either end of training that picks by kind are looked for in."""

MOST = 12


@dataclass(frozen=True)
class Kind:
    """What a rollout may show."""

    title: str
    holds: Callable[[Credited], bool]


def _right(one: Credited) -> bool:
    return one.rollout.outcome == 1


def _abstained(one: Credited) -> set[str]:
    return {critique.abstained for critique in one.critiques if critique.abstained}


def _kinds(blamed: str) -> tuple[Kind, ...]:
    return (
        Kind(f"Right answer, no step {blamed}", lambda one: _right(one) and one.some_spared and not one.some_blamed),
        Kind(f"Right answer, with a {blamed} step", lambda one: _right(one) and one.some_blamed),
        Kind(
            f"Wrong answer, with right steps beside {blamed} ones",
            lambda one: one.rollout.outcome == 0 and one.some_blamed and one.some_spared,
        ),
        Kind("No answer of the group is right, yet steps differ", lambda one: not any(one.group) and one.signal),
    )


KINDS = (
    *_kinds("charged"),
    Kind("A critique abstained", lambda one: bool(_abstained(one) - {"truncated"})),
    Kind("A critique was cut off", lambda one: "truncated" in _abstained(one)),
)
SCORED_KINDS = (*_kinds("doubted"), Kind("Not scored", lambda one: one.doubts is None))
"""The kinds where a process reward model scored the steps."""


@dataclass(frozen=True)
class Section:
    """Rollouts shown together.

    Attributes:
        title: What they have in common.
        shown: The rollouts.
        note: What is to be known of the choice; empty where it is clear.
    """

    title: str
    shown: tuple[Credited, ...]
    note: str = ""


@dataclass(frozen=True)
class Wish:
    """What to show.

    Attributes:
        pick: How to pick.
        most: Rollouts at most.
        step: Only of this optimizer step.
        problem: Only of this problem.
        rollouts: These and no others, as (optimizer step, place in it), both from 1.
    """

    pick: Picking = "interesting"
    most: int = MOST
    step: int | None = None
    problem: str | None = None
    rollouts: tuple[tuple[int, int], ...] = ()

    @property
    def by_kind(self) -> bool:
        """Whether nothing is asked for by name."""
        return self.pick == "interesting" and self.problem is None and self.step is None and not self.rollouts


def pick(steps: Sequence[int], read: Read, wish: Wish, seed: str, kinds: Sequence[Kind] = KINDS) -> list[Section]:
    """Pick rollouts.

    Args:
        steps: The optimizer steps that can be read, ascending.
        read: Reads one.
        wish: What is asked for.
        seed: Decides the random picks.
        kinds: What is looked for where nothing else is asked for.

    Raises:
        LookupError: What is asked for by name is not there; says what is.
    """
    if wish.rollouts:
        return [Section("Chosen rollouts", tuple(_named(steps, read, *where) for where in wish.rollouts))]
    if wish.step is not None and wish.step not in steps:
        raise LookupError(f"no optimizer step {wish.step} is stored; stored: {_ranges(steps)}")
    steps = steps if wish.step is None else [wish.step]
    if wish.problem is not None:
        return _of_problem(steps, read, wish.problem, wish.most)
    if wish.pick == "random":
        return _random(steps, read, wish.most, random.Random(seed))
    if wish.pick == "worst":
        ranked = sorted((one for step in steps for one in read(step)), key=lambda one: one.mean_advantage)
        return [Section("Lowest mean advantage", tuple(ranked[: wish.most]), "Over all stored optimizer steps.")]
    return _by_kind(steps, read, wish.most, kinds)


def eras(steps: Sequence[int]) -> Mapping[str, list[int]]:
    """Return the steps that stand for the beginning and the end of training, each in the order of looking."""
    early = list(steps[: min(WINDOW, (len(steps) + 1) // 2)])
    late = [step for step in reversed(steps[-WINDOW:]) if step > early[-1]] if early else []
    return {"early": early, "late": late}


def _by_kind(steps: Sequence[int], read: Read, most: int, kinds: Sequence[Kind]) -> list[Section]:
    pools = {era: [one for step in numbers for one in read(step)] for era, numbers in eras(steps).items() if numbers}
    taken: set[tuple[int, int]] = set()
    sections = []
    for kind in kinds:
        found, lacking = [], []
        for era, pool in pools.items():
            one = next((o for o in pool if (o.step, o.place) not in taken and kind.holds(o)), None)
            if one is None:
                lacking.append(era)
            elif len(taken) < most:
                taken.add((one.step, one.place))
                found.append(one)
        sections.append(Section(kind.title, tuple(found), _lacking(lacking, eras(steps))))
    return [section for section in sections if section.shown or section.note]


def _lacking(lacking: Sequence[str], windows: Mapping[str, Sequence[int]]) -> str:
    return "".join(f"None in the {era} steps looked at ({_ranges(sorted(windows[era]))}). " for era in lacking).strip()


def _of_problem(steps: Sequence[int], read: Read, problem: str, most: int) -> list[Section]:
    seen: dict[str, None] = {}
    found = []
    for step in steps:
        rollouts = read(step)
        seen |= dict.fromkeys(one.rollout.problem for one in rollouts)
        found += [one for one in rollouts if one.rollout.problem == problem]
    if not found:
        some = ", ".join(list(seen)[:5])
        raise LookupError(f"no stored rollout is of problem {problem!r}; of {len(seen)} problems the first are {some}")
    # The first and the last of them, so that what training changed can be seen.
    half = most // 2
    shown = found if len(found) <= most else [*found[: most - half], *(found[-half:] if half else [])]
    note = f"{len(shown)} of {len(found)} rollouts, the first and the last." if len(shown) < len(found) else ""
    return [Section(f"Problem {problem}", tuple(shown), note)]


def _random(steps: Sequence[int], read: Read, most: int, rng: random.Random) -> list[Section]:
    pools = {step: read(step) for step in sorted(rng.sample(list(steps), min(most, len(steps))))}
    each = [rng.sample(pool, min(len(pool), -(-most // len(pools)))) for pool in pools.values()]
    shown = sorted((one for few in each for one in few), key=lambda one: (one.step, one.place))
    return [Section("Rollouts drawn at random", tuple(shown[:most]))]


def _named(steps: Sequence[int], read: Read, step: int, place: int) -> Credited:
    if step not in steps:
        raise LookupError(f"no optimizer step {step} is stored; stored: {_ranges(steps)}")
    rollouts = read(step)
    if not 1 <= place <= len(rollouts):
        raise LookupError(f"optimizer step {step} has no rollout {place}; it has 1 to {len(rollouts)}")
    return rollouts[place - 1]


def _ranges(steps: Iterable[int]) -> str:
    numbers = list(steps)
    if not numbers:
        return "none"
    whole = numbers == list(range(numbers[0], numbers[-1] + 1)) and len(numbers) > 1
    return f"{numbers[0]} to {numbers[-1]}" if whole else ", ".join(map(str, numbers))

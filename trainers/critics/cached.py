"""Build a critic that computes each critique once: critiques are stored on disk, and concurrent requests are shared."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from evals.definitions import find_closure
from evals.fingerprint import identify_folder
from evals.models.open import BACKENDS
from trainers.credit.critique import UNREACHED, Critique
from trainers.critics.base import Critic, CriticParams, Solution, Surroundings
from trainers.critics.store import FILE, CritiqueStore, Place

Answered = dict[Place, Critique]


def open_critic(params: CriticParams, surroundings: Surroundings, cache: Path | None) -> Critic:
    """Build a critic; if its critiques are worth storing, it requests only those that are not stored yet."""
    critic = params.build(surroundings)
    if not params.kept:
        return critic
    return CachedCritic(critic, _read_identity(params, surroundings), CritiqueStore(cache / FILE) if cache else None)


def _read_identity(params: CriticParams, surroundings: Surroundings) -> dict[str, Any]:
    """Return what determines the critiques: the settings, the identity of a model in a folder, and the critic's code.

    The code is that of the critic with all that it reaches: the prompt's text, the parser, a plug-in's own helpers.
    """
    settings = params.identity()
    named = settings.get("model")
    folder = surroundings.embedded if params.embedded_critic else Path(named) if isinstance(named, str) else None
    return {
        "critic": settings,
        "model": identify_folder(folder) if folder is not None and folder.is_dir() else None,
        "code": find_closure(f"{type(params).__module__}:{type(params).__qualname__}").hash,
        "model's code": find_closure(BACKENDS[params.backend]).hash if params.backend else None,
    }


class CachedCritic:
    """Requests from another critic only the critiques that are not available yet.

    Each solution of a problem is requested once: within a batch, in concurrent calls and, with a store, over all trials
    that share the store. Two problems with different ids and the same text are the same problem. A critique that was
    not requested by this call keeps the usage of the original request, so that the reported cost of a trial does not
    depend on which trial requested it first. Such a critique is marked (`Critique.reused`).

    If a request fails, it fails for its caller alone: other callers that waited for it send their own request.
    """

    def __init__(self, inner: Critic, identity: Mapping[str, Any], store: CritiqueStore | None) -> None:
        self._inner, self._store = inner, store
        self._identity = _compute_digest(dict(identity)).hex()
        self._asked: dict[Place, asyncio.Future[Critique]] = {}
        self.eager = inner.eager

    async def critique(
        self, solutions: Sequence[Solution], k: int, *, first: int = 0, greedy: bool = False
    ) -> list[list[Critique]]:
        """Return k critiques of each solution, and request only those that no caller has requested yet."""
        keys = [self.key(solution, greedy) for solution in solutions]
        distinct = dict(zip(keys, solutions, strict=True))
        numbers = range(first, first + k)
        answers: Answered = {}
        while owed := [(key, number) for key in distinct for number in numbers if (key, number) not in answers]:
            answers |= await self._round(owed, distinct, greedy)
        rows = []
        seen: set[bytes] = set()
        for key in keys:
            row = [answers[key, number] for number in numbers]
            rows.append([replace(critique, reused=True) for critique in row] if key in seen else row)
            seen.add(key)
        return rows

    async def close(self) -> None:
        """Close the critic and the store."""
        try:
            await self._inner.close()
        finally:
            if self._store is not None:
                self._store.close()

    def key(self, solution: Solution, greedy: bool) -> bytes:
        """Return the hash of all that determines the critiques of a solution, except their index (32 bytes)."""
        problem = solution.problem
        return _compute_digest(
            [self._identity, greedy, solution.aim, problem.prompt, problem.answer, list(solution.steps)]
        )

    async def _round(self, owed: Sequence[Place], solutions: Mapping[bytes, Solution], greedy: bool) -> Answered:
        """Request the critiques that no other caller requests, and wait for those that other callers request.

        If another caller's request fails, the result lacks its critiques, and they stay pending.
        """
        others = {place: self._asked[place] for place in owed if place in self._asked}
        answers = await self._claim([place for place in owed if place not in others], solutions, greedy)
        if others:
            # Not `gather`: if this caller is cancelled, it must not cancel the requests of others.
            await asyncio.wait(others.values())
        awaited = {place: future.result() for place, future in others.items() if not future.cancelled()}
        return answers | {place: replace(critique, reused=True) for place, critique in awaited.items()}

    async def _claim(self, own: Sequence[Place], solutions: Mapping[bytes, Solution], greedy: bool) -> Answered:
        """Return critiques from the store or by a request, while other callers can wait for them."""
        claimed = {place: asyncio.get_running_loop().create_future() for place in own}
        self._asked |= claimed
        try:
            answers = await self._read(own)
            self._settle(answers)
            groups = _group_places([place for place in own if place not in answers])
            asks = [self._ask(numbers, keys, solutions, greedy) for numbers, keys in groups.items()]
            for answered in await asyncio.gather(*asks, return_exceptions=True):
                if isinstance(answered, BaseException):
                    raise answered
                answers |= answered
            return answers
        finally:
            for place, future in claimed.items():
                del self._asked[place]
                future.cancel()  # has no effect on a future that has its result

    async def _ask(
        self, numbers: range, keys: Sequence[bytes], solutions: Mapping[bytes, Solution], greedy: bool
    ) -> Answered:
        asked = [solutions[key] for key in keys]
        rows = await self._inner.critique(asked, len(numbers), first=numbers.start, greedy=greedy)
        answered = {
            (key, number): critique
            for key, row in zip(keys, rows, strict=True)
            for number, critique in zip(numbers, row, strict=True)
        }
        self._settle(answered)
        await self._write(answered)
        return answered

    def _settle(self, answered: Answered) -> None:
        for place, critique in answered.items():
            self._asked[place].set_result(critique)

    async def _read(self, places: Sequence[Place]) -> Answered:
        if self._store is None or not places:
            return {}
        indices = [number for _, number in places]
        numbers = range(min(indices), max(indices) + 1)
        kept = await asyncio.to_thread(self._store.read, list(dict.fromkeys(key for key, _ in places)), numbers)
        return {place: replace(kept[place], reused=True) for place in places if place in kept}

    async def _write(self, answered: Answered) -> None:
        # A critique that failed at the connection is never stored, because a later request may succeed.
        lasting = {place: critique for place, critique in answered.items() if critique.abstained not in UNREACHED}
        if self._store is not None and lasting:
            await asyncio.to_thread(self._store.write, lasting)


def _group_places(places: Iterable[Place]) -> dict[range, list[bytes]]:
    """Return the solutions to request for each run of successive indices; every place is in exactly one run."""
    numbers: dict[bytes, list[int]] = {}
    for key, number in places:
        numbers.setdefault(key, []).append(number)
    groups: dict[range, list[bytes]] = {}
    for key, owed in numbers.items():
        for run in _split_runs(sorted(owed)):
            groups.setdefault(run, []).append(key)
    return groups


def _split_runs(numbers: Sequence[int]) -> list[range]:
    """Split ascending numbers into runs without gaps."""
    starts = [number for number in numbers if number - 1 not in numbers]
    ends = [number + 1 for number in numbers if number + 1 not in numbers]
    return [range(start, end) for start, end in zip(starts, ends, strict=True)]


def _compute_digest(value: object) -> bytes:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).digest()

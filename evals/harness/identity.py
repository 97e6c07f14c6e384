"""Define the identity of a result, and decide whether two results may be compared in one table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from evals.harness.tasks import EvalTask
from evals.metrics import Decoding
from evals.models.base import Model

Identity = dict[str, Any]
"""Nested plain JSON values."""

OF_THE_MODEL = ("seed", "model.model", "model.revision", "model.weights", "model.adapter")
"""Keys in which the results of one table may differ: the weights, and the seed of the sampling."""


class EvaluationError(Exception):
    """An evaluation cannot continue; the message gives the reason and the way out."""


@dataclass(frozen=True)
class Difference:
    """A difference of two identities at a key such as ``model.dtype``; None if an identity lacks the key."""

    key: str
    left: Any
    right: Any

    def __str__(self) -> str:
        return f"{self.key}: {_show(self.left)} there, {_show(self.right)} here"


def read_identity(task: EvalTask, model: Model, seed: int) -> Identity:
    """Return everything that determines the completions of an evaluation, as plain JSON values.

    The content of the problems is included, their origin is not.
    """
    whole = {
        "task": task.name,
        "version": task.version,
        "data": task.data,
        "output": task.output,
        "answers": task.answers,
        "problems": len(task.problems),
        "greedy": task.greedy,
        "samples": task.samples,
        "sampling": asdict(task.sampling),
        "seed": seed,
        "model": model.identity(),
    }
    plain: Identity = json.loads(json.dumps(whole))
    return plain


def list_completions(identity: Identity) -> list[tuple[Decoding, int]]:
    """Return decoding and number of each completion of a problem, the greedy one first."""
    sampled: list[tuple[Decoding, int]] = [("sampled", number) for number in range(identity["samples"])]
    return [("greedy", 0), *sampled] if identity["greedy"] else sampled


def find_differences(left: Identity, right: Identity, *, but: Sequence[str] = ()) -> list[Difference]:
    """Return the differences of two identities in order of their keys, without some keys and all keys below them."""
    ours, theirs = dict(_flatten(left)), dict(_flatten(right))
    return [
        Difference(key, ours.get(key), theirs.get(key))
        for key in sorted({*ours, *theirs})
        if ours.get(key) != theirs.get(key) and not any(key == part or key.startswith(f"{part}.") for part in but)
    ]


def explain_incomparable(left: Identity, right: Identity) -> list[Difference]:
    """Return the reasons why two results of a task may not be compared in one table; empty if they may.

    Everything except the model itself and the seed must agree: backend, dtype, template, sampling, task, data,
    verifier, segmenter, critic, packages.
    """
    return find_differences(left, right, but=OF_THE_MODEL)


def _flatten(tree: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _show(value: Any) -> str:
    return "nothing" if value is None else json.dumps(value, ensure_ascii=False)

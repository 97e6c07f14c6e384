"""Store every rollout of training with the judgments of its steps, as one gzip JSONL file per step and process.

From stored rollouts, the credit can be inspected and checked, and another vote, another number of critiques or other
weights can be tried without a model. A token's reward depends only on its step, so a replay needs only the number of
tokens of each step. The text of each token is stored to show the words.

A file is either complete or absent, and the same rollouts give the same bytes. Files are named
``<step>.<process>.jsonl.gz``. The rollouts of a step in training order are those of its processes one after another.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evals.checksums import check_file
from evals.files import write_atomic
from evals.models.base import Usage
from trainers.credit.critique import Aim, Critique
from trainers.prm.scored import ScoredSolution

_NAME = re.compile(r"(\d+)\.(\d+)\.jsonl\.gz")
_LEVEL = 6


class DamagedRolloutsError(ValueError):
    """A step's stored rollouts cannot be read; the message names the file and the reason."""


@dataclass(frozen=True)
class Rollout:
    """One rollout of training.

    Attributes:
        group: Index of its group in the step.
        prompt: The text of the problem, without a chat template.
        steps: Its text, cut into steps.
        tokens: Number of tokens of each step.
        outcome: 1 if the verifier called the answer right, 0 if it called it wrong; None if it could not be verified.
        truth: Indices of the steps that the benchmark's checker calls wrong; None if there is no checker.
        critiques: The critiques, in the order of their indices; empty for a method without a critic.
        pieces: The text that each token adds (`Alignment.pieces`), as many as `tokens` counts; empty if not stored.
        scored: Scores by the process reward model; None for a method without one.
        prompt_tokens: Number of tokens of its prompt, as the policy read it.
        cut: Whether the token limit truncated it, so that it has no answer.
    """

    group: int
    problem: str
    prompt: str
    answer: str
    steps: tuple[str, ...]
    tokens: tuple[int, ...]
    outcome: float | None
    truth: frozenset[int] | None
    aim: Aim = "steps"
    critiques: tuple[Critique, ...] = ()
    pieces: tuple[str, ...] = ()
    scored: ScoredSolution | None = None
    prompt_tokens: int = 0
    cut: bool = False

    def __post_init__(self) -> None:
        if len(self.steps) != len(self.tokens):
            raise ValueError(f"{len(self.steps)} steps with {len(self.tokens)} counts of tokens; give one a step")
        if self.pieces and len(self.pieces) != sum(self.tokens):
            raise ValueError(f"{len(self.pieces)} pieces of text for {sum(self.tokens)} tokens; give one a token")
        if self.scored and self.scored.scores is not None and len(self.scored.scores) != len(self.steps):
            raise ValueError(f"{len(self.scored.scores)} scores for {len(self.steps)} steps; give one a step")

    @property
    def text(self) -> str:
        """The text of all steps, with a blank line after each step that is not cut within a line."""
        return "".join(step if step.endswith(" ") else f"{step}\n\n" for step in self.steps).removesuffix("\n\n")


@dataclass(frozen=True)
class StoredStep:
    """One training step, numbered from 1, with the rollouts of each process."""

    step: int
    parts: tuple[tuple[Rollout, ...], ...]

    @property
    def rollouts(self) -> tuple[Rollout, ...]:
        """All rollouts in training order; the rollouts of a group are adjacent, but may span processes."""
        return tuple(rollout for part in self.parts for rollout in part)


def write_step(folder: Path, step: int, process: int, rollouts: Sequence[Rollout]) -> None:
    """Write the rollouts that one process sampled for a step; replaces a file of the same step and process."""
    # Escaped to ASCII, so that a lone surrogate in a critic's text can be written and read back.
    lines = [json.dumps(_write_json(step, rollout), sort_keys=True, allow_nan=False) for rollout in rollouts]
    packed = gzip.compress("".join(f"{line}\n" for line in lines).encode("ascii"), _LEVEL, mtime=0)
    write_atomic(folder / f"{step:05d}.{process}.jsonl.gz", packed)


def read_rollouts(folder: Path) -> Iterator[StoredStep]:
    """Yield the stored steps in order, one in memory at a time; nothing if the folder does not exist.

    Raises:
        DamagedRolloutsError: A file cannot be read.
    """
    for step, paths in list_stored_steps(folder).items():
        yield read_step(step, paths)


def list_stored_steps(folder: Path) -> dict[int, tuple[Path, ...]]:
    """Return the files of every stored step, with steps and processes in ascending order.

    If the last step lacks the file of a process because training was killed, it is left out: its groups are incomplete.
    """
    files: dict[int, dict[int, Path]] = {}
    for path in folder.glob("*.jsonl.gz"):
        if name := _NAME.fullmatch(path.name):
            files.setdefault(int(name[1]), {})[int(name[2])] = path
    steps = {step: tuple(path for _, path in sorted(files[step].items())) for step in sorted(files)}
    *_, before, last = (0, 0, *map(len, steps.values()))
    if last < before:
        steps.popitem()
    return steps


def read_step(step: int, paths: Sequence[Path]) -> StoredStep:
    """Read one step.

    Raises:
        DamagedRolloutsError: A file cannot be read.
    """
    return StoredStep(step, tuple(_read(path) for path in paths))


def drop_after(folder: Path, step: int) -> None:
    """Delete the files of later steps, which a resumed run writes again, and temporary files of a killed write."""
    for path in folder.glob("*.jsonl.gz"):
        name = _NAME.fullmatch(path.name)
        if name and int(name[1]) > step:
            path.unlink(missing_ok=True)
    for path in folder.glob(".*.jsonl.gz.*"):
        path.unlink(missing_ok=True)


def _read(path: Path) -> tuple[Rollout, ...]:
    try:
        return tuple(_read_json(json.loads(line)) for line in _read_lines(path))
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError) as error:
        raise DamagedRolloutsError(f"{path}: cannot be read as stored rollouts ({error})") from error


def _read_lines(path: Path) -> list[str]:
    check_file(path)
    packed = path.read_bytes()
    if not packed:  # gzip would read an empty file as no lines
        raise EOFError("the file is empty")
    return gzip.decompress(packed).decode("ascii").splitlines()


def _write_json(step: int, rollout: Rollout) -> dict[str, Any]:
    return {
        "step": step,
        "group": rollout.group,
        "problem": rollout.problem,
        "prompt": rollout.prompt,
        "answer": rollout.answer,
        "steps": rollout.steps,
        "tokens": rollout.tokens,
        "prompt_tokens": rollout.prompt_tokens,
        "outcome": rollout.outcome,
        "truth": None if rollout.truth is None else sorted(rollout.truth),
        "aim": rollout.aim,
        "critiques": [_write_critique(critique) for critique in rollout.critiques],
        **({"pieces": rollout.pieces} if rollout.pieces else {}),
        **({"cut": True} if rollout.cut else {}),
        **({"scored": asdict(rollout.scored)} if rollout.scored else {}),
    }


def _write_critique(critique: Critique) -> dict[str, Any]:
    verdict = {"abstained": critique.abstained} if critique.wrong is None else {"wrong": sorted(critique.wrong)}
    usage = {name: value for name, value in asdict(critique.usage).items() if value}
    reused = {"reused": True} if critique.reused else {}
    return {**verdict, **reused, "text": critique.text, "usage": usage}


def _read_json(row: Mapping[str, Any]) -> Rollout:
    return Rollout(
        group=row["group"],
        problem=row["problem"],
        prompt=row["prompt"],
        answer=row["answer"],
        steps=tuple(row["steps"]),
        tokens=tuple(row["tokens"]),
        outcome=row["outcome"],
        truth=None if row["truth"] is None else frozenset(row["truth"]),
        aim=row["aim"],
        critiques=tuple(_read_critique(critique) for critique in row["critiques"]),
        pieces=tuple(row.get("pieces", ())),
        scored=_read_scored(row["scored"]) if "scored" in row else None,
        prompt_tokens=row["prompt_tokens"],
        cut=row.get("cut", False),
    )


def _read_scored(row: Mapping[str, Any]) -> ScoredSolution:
    scores = None if row["scores"] is None else tuple(row["scores"])
    return ScoredSolution(scores, row["unscored"], row["tokens"])


def _read_critique(row: Mapping[str, Any]) -> Critique:
    wrong = frozenset(row["wrong"]) if "wrong" in row else None
    usage = Usage(**row["usage"])
    return Critique(wrong, row.get("abstained"), row["text"], usage, reused=row.get("reused", False))

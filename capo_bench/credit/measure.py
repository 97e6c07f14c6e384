"""The true advantages of stored rollouts, counted with the policies that sampled them, and kept by content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from capo_bench.analysis.fidelity import ValuedStep
from capo_bench.revote.batch import store_of
from capo_bench.revote.trial import read_whole
from capo_bench.store.errors import RunError
from capo_bench.study.identity import hash_cold_start
from evals.values import Chance, Counting, KeptChances, SolutionState, count_chances, list_states
from evals.verify import VERIFIER_VERSION, Verifier
from trainers.backbones import BACKBONES
from trainers.credit.arrays import FloatArray
from trainers.credit.monte_carlo import list_step_values
from trainers.methods import METHODS
from trainers.rollouts import DamagedRolloutsError, Rollout, list_stored_steps

if TYPE_CHECKING:
    from capo_bench.store.home import Home
    from capo_bench.study.plan import Trial
    from evals.models.base import Model
    from evals.models.spec import ModelSpec

Tell = Callable[[int, int], None]
"""Called with how many parts of the work are done, and of how many."""

FEW = 9
"""Continuations of a state that Monte Carlo methods are measured with; VinePPO's number."""


class NothingToMeasureError(RunError):
    """No trial has rollouts whose policy is kept; says why, trial by trial."""


class NoPolicyError(ValueError):
    """The policy of an optimizer step is not there; says why."""


@dataclass(frozen=True)
class FidelityRequest:
    """What is measured.

    Attributes:
        rollouts: Most rollouts of an optimizer step; whole groups, at least one.
    """

    samples: int = 200
    rollouts: int = 64


def measure_trials(
    trials: Sequence[Trial], home: Home, wanted: FidelityRequest, on_part: Tell = lambda done, of: None
) -> tuple[list[ValuedStep], list[str]]:
    """Return the stored steps of trials with their true advantages, and what could not be measured and why.

    Raises:
        NothingToMeasureError: Nothing could be.
    """
    measured, left_out = list[ValuedStep](), list[str]()
    work = list(_work(trials, home, left_out))
    with Verifier() as verifier:
        for place, (trial, step, which) in enumerate(work):
            part = _Part(trial, step, which, home, wanted)
            try:
                measured.append(part.measure(verifier, _scale_progress(on_part, place, len(work))))
            except (NoPolicyError, DamagedRolloutsError) as error:
                left_out.append(f"{trial.variant}, seed {trial.seed}, optimizer step {step}: {error}")
    if not measured:
        raise NothingToMeasureError("\n  ".join(["no true advantages can be counted:", *left_out]))
    return measured, left_out


def _scale_progress(on_part: Tell, place: int, of: int) -> Tell:
    """Return what tells of a part of the work as of the whole, in hundredths of a part."""
    return lambda done, total: on_part(100 * place + 100 * done // max(total, 1), 100 * of)


def _work(trials: Sequence[Trial], home: Home, left_out: list[str]) -> Iterator[tuple[Trial, int, str]]:
    for trial in trials:
        name = f"{trial.variant}, seed {trial.seed}"
        if METHODS.get(trial.config.method).train is None:
            continue
        if not home.trial(trial.id).done:
            left_out.append(f"{name}: not finished; capo-bench run finishes it")
            continue
        steps = find_known_steps(trial, home)
        if not steps:
            left_out.append(f"{name}: no stored rollouts whose policy is kept")
        yield from ((trial, step, which) for step, which in sorted(steps.items()))


def find_known_steps(trial: Trial, home: Home) -> dict[int, str]:
    """Return the stored optimizer steps whose policy is kept, and which it is: ``start`` or ``trained``.

    The rollouts of the first step are the start's. Those of the last were sampled by the policy one update before the
    trained one, which stands in for it: policies between the two are not kept.
    """
    steps = list(list_stored_steps(home.trial(trial.id).rollouts))
    if not steps:
        return {}
    last = {steps[-1]: "trained"} if steps[-1] == trial.config.train.steps else {}
    return {**last, **({1: "start"} if steps[0] == 1 else {})}


def find_policy(trial: Trial, home: Home, which: str) -> ModelSpec:
    """Return the model of the ``start`` or of the ``trained`` policy.

    Raises:
        NoPolicyError: It is not there.
    """
    from evals.models.spec import ModelSpec

    backbone, key = BACKBONES.load(trial.config.backbone), hash_cold_start(trial.config)
    folder: Path | None = home.trial(trial.id).model
    if which == "start":
        folder = None if key is None else home.stage("cold_start", key)
    if folder is not None and not folder.is_dir():
        raise NoPolicyError(f"{folder} is not there (capo-bench gc may have freed it); run the trial again")
    model = str(folder) if folder is not None else str(backbone.model)
    return ModelSpec(
        model=model, revision=None if folder is not None else backbone.revision, template=backbone.template
    )


@dataclass(frozen=True)
class _Part:
    """One optimizer step of one trial."""

    trial: Trial
    step: int
    which: str
    home: Home
    wanted: FidelityRequest

    def measure(self, verifier: Verifier, on_part: Tell) -> ValuedStep:
        rollouts = self._rollouts()
        spec = find_policy(self.trial, self.home, self.which)
        opened = _Opened(spec, self.trial)
        train = self.trial.config.train
        states = [
            list_states(row.prompt, row.answer, row.pieces, row.tokens, train.max_completion_tokens) for row in rollouts
        ]
        outcomes = np.array([np.nan if row.outcome is None else row.outcome for row in rollouts])
        rows = []
        for samples, seed in ((self.wanted.samples, 0), (FEW, 1)):
            counting = Counting(samples, train.temperature, seed, train.answers)
            chances = self._chances(opened, verifier, [state for row in states for state in row], counting, on_part)
            ends = [0, *accumulate(map(len, states))]
            each = [[chance.value for chance in chances[a:b]] for a, b in pairwise(ends)]
            rows.append(list_step_values(each, outcomes))
        return ValuedStep(
            trial=self.trial,
            step=self.step,
            policy=self.which,
            stored=store_of(rollouts, self.trial.config.credit.critiques),
            values=rows[0][0],
            before=rows[0][1],
            few_values=rows[1][0],
            few_before=rows[1][1],
            samples=self.wanted.samples,
            gram=self._gram(opened, rollouts),
        )

    def _rollouts(self) -> Sequence[Rollout]:
        folder, size = self.home.trial(self.trial.id).rollouts, self.trial.config.train.group_size
        step = read_whole(self.step, list_stored_steps(folder)[self.step], size)
        if step.rollouts[0].aim != "steps":
            raise NoPolicyError("its critic was asked about answers")
        if not all(rollout.pieces for rollout in step.rollouts):
            raise NoPolicyError("the text of its tokens was not kept")
        return step.rollouts[: max(self.wanted.rollouts // size, 1) * size]

    def _chances(
        self, opened: _Opened, verifier: Verifier, states: Sequence[SolutionState], counting: Counting, on_part: Tell
    ) -> list[Chance]:
        decided = {"policy": opened.content, "counting": asdict(counting), "verifier": VERIFIER_VERSION}
        kept = KeptChances(self.home.values, decided)
        if all(state.key in kept.chances for state in states):
            return [kept.chances[state.key] for state in states]
        return count_chances(opened.model(), verifier, states, counting, kept, on_part)

    def _gram(self, opened: _Opened, rollouts: Sequence[Rollout]) -> FloatArray | None:
        texts = [[rollout.prompt, rollout.pieces, rollout.tokens] for rollout in rollouts]
        digest = hashlib.sha256(json.dumps([opened.content, texts], default=str).encode()).hexdigest()[:24]
        path = self.home.values / f"{digest}.gradients.npy"
        if path.exists():
            return np.asarray(np.load(path, allow_pickle=False), dtype=np.float64)
        products = opened.gram(rollouts)
        if products is None:
            return None
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = products.astype(np.float32)
        np.save(path, kept, allow_pickle=False)
        return np.asarray(kept, dtype=np.float64)


class _Opened:
    """A policy, loaded when it is first needed."""

    def __init__(self, spec: ModelSpec, trial: Trial) -> None:
        self._spec, self._trial = spec, trial
        self._model: Model | None = None

    @property
    def content(self) -> dict[str, Any]:
        """What says which weights these are, without loading them."""
        from evals.models.folders import locate

        place = locate(self._spec.model, self._spec.revision)
        return {**place.identity(), "template": self._spec.template}

    def model(self) -> Model:
        from capo_bench.run.threads import fix_threads
        from evals.models.open import open_model

        if self._model is None:
            fix_threads(self._trial)
            self._model = open_model(self._spec)
        return self._model

    def gram(self, rollouts: Sequence[Rollout]) -> FloatArray | None:
        from capo_bench.credit.gradients import MOST_PARAMETERS, compute_gram
        from evals.models.transformers import TransformersModel

        model = self.model()
        if not isinstance(model, TransformersModel):
            return None
        size = sum(weight.numel() for weight in model.model.parameters())
        return compute_gram(model, rollouts) if size <= MOST_PARAMETERS else None

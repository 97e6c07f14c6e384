"""Train methods whose credit is based on values of states, estimated over continuations of the policy itself."""

from __future__ import annotations

import time

from evals.models.spec import ModelSpec
from evals.models.transformers import TransformersModel
from evals.values import Counting, KeptChances, count_chances, list_states
from trainers.credit.arrays import FloatArray
from trainers.credit.batch import Evidence
from trainers.credit.monte_carlo import list_step_values
from trainers.policy import PolicyTrainer, train_policy
from trainers.run import TrainRun


class ValuedTrainer(PolicyTrainer):
    """GRPO with Monte Carlo values; continuations are sampled in this process, also if vLLM samples the rollouts.

    The tokens of continuations are `value_tokens`, not part of `policy_tokens`; `seconds_critique` is their time.
    """

    def find_evidence(self) -> Evidence:
        """Return the values of the states after and before each step."""
        began = time.perf_counter()
        kept = KeptChances(None, {})
        values, before = self._values(kept)
        seconds = time.perf_counter() - began
        self.report({"seconds_critique": seconds, "critic_wait": seconds, "value_tokens": float(kept.tokens)})
        return Evidence(values=values, before=before)

    def _values(self, kept: KeptChances) -> tuple[FloatArray, FloatArray]:
        train = self.config.train
        samples = self.config.samples_per_state
        policy = self.accelerator.unwrap_model(self.model)
        training = policy.training
        model = TransformersModel(policy, self.tokenizer, ModelSpec(model="policy", dtype="auto"), {})
        cut, most = self.alignment, train.max_completion_tokens
        states = [
            list_states(problem.prompt, problem.answer, pieces, tokens, most)
            for problem, pieces, tokens in zip(self.problems, cut.pieces, cut.tokens, strict=True)
        ]
        counting = Counting(samples, train.temperature, self.step_number, train.answers)
        flat = [state for row in states for state in row]
        chances = iter(count_chances(model, self.verifier, flat, counting, kept))
        policy.train(training)
        rows = [[next(chances).value for _ in row] for row in states]
        return list_step_values(rows, self.outcomes)


def train(run: TrainRun) -> bool:
    """Train; see `train_policy`."""
    return train_policy(run, ValuedTrainer, run.config.evaluation.segmenter)

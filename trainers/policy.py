"""What every reinforcement method shares: TRL's GRPO trainer with its settings spelled out, what steps report and keep.

A method is a subclass that may replace the advantages. The seam is the one that TRL leaves: `_compute_loss` takes
advantages of shape (B,) or (B, T). Each of TRL's defaults that differs from the paper's GRPO is set in `settings`, with
the reason; a method that needs others names them in `overrides`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase, PrinterCallback
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from evals.benchmarks import BENCHMARKS, Benchmark, Problem
from evals.verify import Verifier
from trainers.backbones import BACKBONES, BackboneConfig
from trainers.budget import Meter
from trainers.callbacks import Recorder, Saver
from trainers.checkpoints import mark
from trainers.config import TrainConfig, TrialConfig
from trainers.credit.align import Alignment, step_index
from trainers.credit.arrays import FloatArray
from trainers.credit.segment import SEGMENTERS
from trainers.holding import adapters, merged, sampling, server_alone
from trainers.methods import TrainRun
from trainers.prompts import render
from trainers.rollouts import Rollout, write_step
from trainers.watch import watching

COUNTS = frozenset({
    "policy_tokens", "critic_tokens", "critic_prompt_tokens", "critic_cached_tokens", "critic_output_tokens",
    "critic_money", "critiques", "critiques_reused", "abstained", "uncritiqued", "unverified",
})  # fmt: skip
"""Metrics that are counts: added over processes, where the others are averaged."""

FROM_TRL = {
    "loss": "loss",
    "grad_norm": "grad_norm",
    "entropy": "entropy",
    "clip_ratio/region_mean": "clipped_tokens",
    "frac_reward_zero_std": "groups_without_outcome_signal",
    "completions/clipped_ratio": "truncated",
}
"""What of TRL's own logs goes into a step's record, and under which name."""


class PolicyTrainer(GRPOTrainer):
    """GRPO on the verifier's outcome, with the reports that every method owes; every rollout is kept.

    Subclasses override `rollout_finished` and `rollouts_known` to start work while rollouts are sampled and while
    their answers are verified, `reward` to replace the verifier's outcome as TRL's reward, `advantages` to replace
    TRL's advantages, `said` to keep with a rollout what judged its steps, and `rollouts_kept` to give up where that
    failed.

    Args:
        config: The trial's settings.
        segmenter: Cuts rollouts into steps.
        benchmark: Where the problems come from.
        verifier: Judges the answers.
        tokenizer: The policy's.
        rollouts: Folder that receives the rollouts.
        kwargs: What `GRPOTrainer` takes.
    """

    def __init__(  # noqa: PLR0913 - what a step needs, none of which belong together
        self,
        *,
        config: TrialConfig,
        segmenter: str,
        benchmark: Benchmark,
        verifier: Verifier,
        tokenizer: PreTrainedTokenizerBase,
        rollouts: Path,
        **kwargs: Any,
    ) -> None:
        self.config, self.benchmark, self.verifier = config, benchmark, verifier
        self.rollouts = rollouts
        self.segmenter = SEGMENTERS.get(segmenter)
        self.alignment = Alignment([], [], np.zeros((0, 0), dtype=np.int64), [])
        self.problems: list[Problem] = []
        self.truth: list[frozenset[int] | None] = []
        self.outcomes: FloatArray = np.zeros(0)
        self.tokenizer = tokenizer
        super().__init__(reward_funcs=[self.outcome], processing_class=tokenizer, **kwargs)

    def outcome(self, prompts: Sequence[str], answer: Sequence[str], **_: Any) -> list[float | None]:
        """Verify the answers and return the rewards; None where there is none (TRL leaves it out)."""
        began = time.perf_counter()
        verdicts = self.verifier.verify(list(zip(self.alignment.texts, answer, strict=True)))
        self.outcomes = np.array([np.nan if v.correct is None else float(v.correct) for v in verdicts])
        self.report({"seconds_verify": time.perf_counter() - began})
        return [None if np.isnan(reward) else float(reward) for reward in self.reward()]

    def reward(self) -> FloatArray:
        """Return the reward of each rollout, shape (B,), NaN for none: 1 for the reference answer, 0 for another."""
        return self.outcomes

    @classmethod
    def overrides(cls, train: TrainConfig) -> dict[str, Any]:
        """Return what of `settings` this method has otherwise, by the names of `GRPOConfig`."""
        return {}

    @property
    def watches(self) -> bool:
        """Whether `rollout_finished` is to be called."""
        return False

    def rollout_finished(self, row: int, steps: tuple[str, ...]) -> None:
        """Called when a rollout's end token has been sampled, while the rest of its batch is still being sampled."""

    def rollouts_known(self) -> None:
        """Called when a batch has been sampled and cut into steps (`alignment`, `problems`), before it is verified."""

    def advantages(self, width: int) -> torch.Tensor | None:
        """Return advantages of shape (B, width) in place of TRL's own of shape (B,), or None to keep those."""
        return None

    def said(self, row: int) -> dict[str, Any]:
        """Return what was said of a rollout's steps, by the names of `Rollout`, to be kept with it."""
        return {}

    def rollouts_kept(self) -> None:
        """Called when a batch has been kept, before it is trained on: the place to give up."""

    def report(self, metrics: dict[str, float]) -> None:
        """Add metrics of this step, averaged (`COUNTS`: added) over processes; every process reports the same names."""
        names = sorted(metrics)
        local = torch.tensor([[metrics[name] for name in names]], dtype=torch.float64, device=self.accelerator.device)
        rows = self.accelerator.gather(local)
        for index, name in enumerate(names):
            total = rows[:, index].nansum() if name in COUNTS else rows[:, index].nanmean()
            self._metrics["train"][name].append(total.item())

    def _generate(self, prompts: list[Any]) -> Any:
        began = time.perf_counter()
        generated = super()._generate(prompts)
        self.report({"seconds_generate": time.perf_counter() - began})
        return generated

    def _generate_single_turn(self, *args: Any, **kwargs: Any) -> Any:
        generate: Any = super()._generate_single_turn
        if not self.watches or self.use_vllm:
            return generate(*args, **kwargs)
        model = self.accelerator.unwrap_model(self.model_wrapped)
        with watching(model, self.tokenizer.eos_token_id, self._finished):
            return generate(*args, **kwargs)

    def _finished(self, row: int, ids: list[int]) -> None:
        self.rollout_finished(row, step_index([ids], self.tokenizer, self.segmenter).steps[0])

    def _calculate_rewards(self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any) -> Any:
        self.alignment = step_index(completion_ids_list, self.tokenizer, self.segmenter)
        self.rollouts_known()
        self.truth = [self._wrong_steps(*pair) for pair in zip(self.problems, self.alignment.steps, strict=True)]
        return super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)

    def _wrong_steps(self, problem: Problem, steps: Sequence[str]) -> frozenset[int] | None:
        """Return the steps that the benchmark's checker calls wrong; None where it has no checker."""
        return self.benchmark.check_steps(problem, steps).wrong if self.benchmark.checks_steps else None

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        began = time.perf_counter()
        self.problems = [Problem(row["problem"], row["text"], row["answer"]) for row in inputs]
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        replaced = self.advantages(output["completion_ids"].size(1))
        if replaced is not None:
            output["advantages"] = replaced.to(output["advantages"])
        self._keep()
        self.rollouts_kept()
        self.report({**self._rollout_metrics(), "seconds_rollout": time.perf_counter() - began})
        return output

    def _keep(self) -> None:
        first = self.accelerator.process_index * len(self.problems)
        rollouts = [
            Rollout(
                group=(first + row) // self.config.train.group_size,
                problem=problem.id,
                prompt=problem.prompt,
                answer=problem.answer,
                steps=self.alignment.steps[row],
                tokens=tuple(np.bincount(index[index >= 0], minlength=len(self.alignment.steps[row])).tolist()),
                pieces=self.alignment.pieces[row],
                outcome=None if np.isnan(self.outcomes[row]) else float(self.outcomes[row]),
                truth=self.truth[row],
                **self.said(row),
            )
            for row, (problem, index) in enumerate(zip(self.problems, self.alignment.index, strict=True))
        ]
        write_step(self.rollouts, self.state.global_step + 1, self.accelerator.process_index, rollouts)

    def _rollout_metrics(self) -> dict[str, float]:
        """Return what is known of the rollouts whatever the method; wrong steps by the benchmark's own checker."""
        steps = [len(row) for row in self.alignment.steps]
        tokens = (self.alignment.index >= 0).sum(axis=1)
        known = self.outcomes[~np.isnan(self.outcomes)]
        wrong = [len(row) for row in self.truth if row is not None]
        return {
            "outcome": float(known.mean()) if known.size else float("nan"),
            "unverified": float(np.isnan(self.outcomes).sum()),
            "wrong_step_rate": sum(wrong) / max(sum(steps), 1) if wrong else float("nan"),
            "steps_per_response": float(np.mean(steps)),
            "tokens_per_response": float(tokens.mean()),
            "policy_tokens": float(tokens.sum()),
        }


def settings(run: TrainRun, backbone: BackboneConfig, trainer_class: type[PolicyTrainer] = PolicyTrainer) -> GRPOConfig:
    """Return TRL's settings for a method: those of the paper's GRPO, but for what the method's trainer overrides.

    Raises:
        ValueError: A step's rollouts do not divide among the processes and micro-batches.
    """
    train = run.config.train
    rollouts = train.prompts_per_step * train.group_size
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    micro_batch = run.micro_batch or train.micro_batch or backbone.micro_batch or max(rollouts // processes, 1)
    if rollouts % (processes * micro_batch):
        raise ValueError(
            f"{rollouts} rollouts a step do not divide among {processes} processes in micro-batches of {micro_batch}; "
            "change train.prompts_per_step, train.micro_batch or the number of processes"
        )
    shared = partial(
        GRPOConfig,
        output_dir=str(run.out),
        max_steps=train.steps,
        per_device_train_batch_size=micro_batch,
        gradient_accumulation_steps=rollouts // (processes * micro_batch),
        num_generations=train.group_size,
        # One update per sampled batch: strictly on policy, so the ratio is 1 and clipping never bites. Nothing sampled
        # outlives its step (steps_per_generation is gradient_accumulation_steps), nor do logs that are not handed on
        # yet (logging_steps). So what TRL forgets when it resumes - sampled batches, its count of micro-batches, which
        # only matters modulo those of a step, metrics of an unfinished step - is empty or 0 at every checkpoint.
        num_iterations=1,
        max_completion_length=train.max_completion_tokens,
        temperature=train.temperature,
        top_p=1.0,
        top_k=0,
        learning_rate=train.learning_rate,
        lr_scheduler_type=train.schedule,
        weight_decay=0.0,
        max_grad_norm=train.max_grad_norm,
        # The paper's GRPO averages within a response, then over responses; TRL's default is DAPO's token average.
        loss_type="grpo",
        scale_rewards="group",
        importance_sampling_level="token",
        epsilon=train.clip,
        epsilon_high=train.clip,
        beta=train.kl,
        mask_truncated_completions=False,
        # Problems are drawn at random already; their order is the seed's, not the trainer's.
        shuffle_dataset=False,
        gradient_checkpointing=backbone.gradient_checkpointing,
        bf16=backbone.precision == "bfloat16",
        use_cpu=not torch.cuda.is_available(),
        logging_steps=1,
        save_strategy="no",  # `Saver` says when
        report_to=[],
        disable_tqdm=True,
        seed=run.seed,
    )
    return shared(**sampling(backbone), **trainer_class.overrides(train))


def train_policy(
    run: TrainRun,
    trainer_class: type[PolicyTrainer],
    segmenter: str,
    critic_parameters: int | None = 0,
    **extra: Any,
) -> bool:
    """Train a policy from `run.start`, or go on from `run.resume`.

    Args:
        run: What to train, and where.
        trainer_class: The method.
        segmenter: Cuts rollouts into steps.
        critic_parameters: Size of the critic, for what training spends; None where it is not known.
        extra: More arguments for the trainer.

    Returns:
        True when training is complete and the model is in `run.model`, False when it was stopped with a checkpoint.
    """
    config = run.config
    backbone = BACKBONES.load(config.backbone)
    tokenizer = AutoTokenizer.from_pretrained(
        run.start, revision=backbone.revision, padding_side="left", trust_remote_code=False
    )
    dtype = getattr(torch, backbone.dtype)
    model = AutoModelForCausalLM.from_pretrained(
        run.start, revision=backbone.revision, dtype=dtype, trust_remote_code=False
    )
    benchmark = BENCHMARKS.get(config.benchmark)
    meter = Meter(sum(weight.numel() for weight in model.parameters()), critic_parameters, config.train.budget)
    with server_alone(backbone.vllm), Verifier() as verifier:
        trainer = trainer_class(
            config=config,
            segmenter=segmenter,
            benchmark=benchmark,
            verifier=verifier,
            model=model,
            args=settings(run, backbone, trainer_class),
            peft_config=adapters(backbone),
            train_dataset=_problems(run, benchmark, backbone, tokenizer),
            tokenizer=tokenizer,
            rollouts=run.rollouts,
            callbacks=[Recorder(partial(_record, run), config.train.steps, meter)],
            **extra,
        )
        saver = _saver(run, trainer)
        trainer.add_callback(saver)
        trainer.remove_callback(PrinterCallback)
        trainer.train(resume_from_checkpoint=run.resume)
    if saver.stopped:
        return False
    _save_whole(trainer, run.model)
    return True


def _save_whole(trainer: PolicyTrainer, folder: Path) -> None:
    """Save the model for `from_pretrained`; sharded by FSDP, checkpoints may hold shares, but this gathers them."""
    if trainer.is_fsdp_enabled:
        trainer.accelerator.state.fsdp_plugin.set_state_dict_type("FULL_STATE_DICT")
    if adapters(BACKBONES.load(trainer.config.backbone)) is None:
        trainer.save_model(str(folder))
    elif trainer.accelerator.is_main_process:
        merged(trainer.accelerator.unwrap_model(trainer.model)).save_pretrained(folder)
        trainer.tokenizer.save_pretrained(folder)


def _saver(run: TrainRun, trainer: PolicyTrainer) -> Saver:
    accelerator = trainer.accelerator

    def agree(wish: bool) -> bool:
        wishes: torch.Tensor = accelerator.reduce(torch.tensor(float(wish), device=accelerator.device))
        return bool(wishes > 0)

    def saved(step: int) -> None:
        accelerator.wait_for_everyone()  # a checkpoint is whole when each process has written its part
        if accelerator.is_main_process:
            mark(run.out, step)

    train = run.config.train
    return Saver(train.steps, run.checkpoint_seconds, run.stop, agree, saved, train.budget)


def _problems(
    run: TrainRun, benchmark: Benchmark, backbone: BackboneConfig, tokenizer: PreTrainedTokenizerBase
) -> Dataset:
    """Return a problem for every group of the run, as the policy reads it (`prompt`) and as it stands (`text`)."""
    count = run.config.train.steps * run.config.train.prompts_per_step
    problems = benchmark.problems("train", count, run.seed)
    rows = [
        {"prompt": render(p, backbone, tokenizer), "problem": p.id, "text": p.prompt, "answer": p.answer}
        for p in problems
    ]
    return Dataset.from_list(rows)


OWN = COUNTS | {
    "step", "of", "seconds", "seconds_rollout", "seconds_generate", "seconds_verify", "seconds_critique",
    "critic_wait", "outcome", "judged", "judged_as_verified", "wrong_step_rate", "steps_per_response",
    "tokens_per_response", "flagged_step_rate", "penalised_tokens", "vote_agreement", "groups_process_signal_only",
    "total_tokens", "train_flops", "budget_share",
}  # fmt: skip


def _record(run: TrainRun, logs: dict[str, Any]) -> None:
    """Hand on one step's record under our names; what a step lacks is left out."""
    known = {name: value for name, value in logs.items() if value is not None and not np.isnan(value)}
    own = {name: value for name, value in known.items() if name in OWN}
    own["seconds_update"] = own["seconds"] - own.pop("seconds_rollout")
    trl = {ours: known[theirs] for theirs, ours in FROM_TRL.items() if theirs in known}
    run.record({**trl, **own})

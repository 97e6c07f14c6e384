"""Define the base of all reinforcement learning methods: TRL's GRPO trainer with explicit settings and reports.

A method is a subclass that may replace the advantages. TRL allows this: `_compute_loss` takes advantages of shape (B,)
or (B, T). Each default of TRL that differs from the paper's GRPO is set in `build_settings`, with the reason. A method
that needs other settings returns them in `overrides`.
"""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import AutoTokenizer, GenerationConfig, PreTrainedTokenizerBase, PrinterCallback
from trl.trainer.grpo_config import GRPOConfig

from evals.benchmarks import Benchmark, Problem
from evals.models.conventions import Conventions, read_conventions
from evals.models.folders import locate
from evals.models.prompt import render
from evals.tasks.named import find_benchmark
from evals.verify import Verifier
from trainers.backbones import BACKBONES, BackboneConfig
from trainers.backbones.trl_arguments import (
    configure_adapters,
    list_merged_weights,
    load_start,
    lock_server,
    name_base,
    select_sampling,
)
from trainers.budget import Meter
from trainers.callbacks import Recorder, Saver
from trainers.checkpoints import mark
from trainers.config import TrainConfig, TrialConfig
from trainers.credit.align import Alignment, index_steps
from trainers.credit.arrays import FloatArray
from trainers.credit.batch import Evidence
from trainers.credit.segment import SEGMENTERS
from trainers.grouped import Credited, credit_groups
from trainers.ratios import RatioTrainer
from trainers.records import RecordingTrainer, record_step
from trainers.run import TrainRun
from trainers.watch import watch_engine, watch_generate

log = logging.getLogger(__name__)

_NO_SAMPLING = frozenset(
    {
        *("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id", "transformers_version"),
        *("output_attentions", "output_hidden_states", "output_scores", "output_logits", "return_dict_in_generate"),
        *("use_cache", "cache_implementation", "_from_model_config"),
    }
)
"""Generation settings that do not affect sampling."""


class PolicyTrainer(RecordingTrainer, RatioTrainer):
    """GRPO on the verifier's outcome, with the metrics that every method reports; every rollout is stored.

    Subclasses override these methods:

    - `rollout_finished` and `rollouts_known`, to start work while rollouts are sampled and their answers are verified
    - `reward`, to replace the verifier's outcome as TRL's reward
    - `find_evidence` or `advantages`, to replace TRL's advantages
    - `judgment`, to store the judgments of a rollout's steps with the rollout
    - `rollouts_kept`, to stop training if the judgments failed
    """

    def __init__(  # noqa: PLR0913 - independent parts of a training step
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
        self.prompt_tokens: list[int] = []
        self.cut: list[bool] = []
        self.outcomes: FloatArray = np.zeros(0)
        self.tokenizer = tokenizer
        super().__init__(reward_funcs=[self.outcome], processing_class=tokenizer, **kwargs)
        if self.use_vllm and hasattr(self.model, "peft_config"):
            engine: Any = self.vllm_generation
            engine._iter_named_params = partial(list_merged_weights, self.model)

    def outcome(self, prompts: Sequence[str], answer: Sequence[str], **_: Any) -> list[float | None]:
        """Verify the answers and return the rewards; None for a rollout without a reward, which TRL leaves out.

        A rollout that the token limit truncated has no answer.
        """
        began = time.perf_counter()
        texts = ["" if cut else text for cut, text in zip(self.cut, self.alignment.texts, strict=True)]
        verdicts = self.verifier.verify(list(zip(texts, answer, strict=True)), style=self.config.train.answers)
        self.outcomes = np.array([np.nan if v.correct is None else float(v.correct) for v in verdicts])
        self.report({"seconds_verify": time.perf_counter() - began})
        return [None if np.isnan(reward) else float(reward) for reward in self.reward()]

    def reward(self) -> FloatArray:
        """Return the reward of each rollout, shape (B,): 1 for a right answer, 0 for a wrong one, NaN for none."""
        return self.outcomes

    @classmethod
    def overrides(cls, train: TrainConfig) -> dict[str, Any]:
        """Return the values of `build_settings` that this method changes, by the names of `GRPOConfig`."""
        return {}

    @property
    def watches(self) -> bool:
        """Whether `rollout_finished` should be called."""
        return False

    def rollout_finished(self, row: int, steps: tuple[str, ...]) -> None:
        """React to a finished rollout while the rest of its batch is still being sampled."""

    def rollouts_known(self) -> None:
        """React to a batch that has been sampled and cut into steps (`alignment`, `problems`) but not verified yet."""

    def find_evidence(self) -> Evidence | None:
        """Return the evidence about the steps of the batch, for a method whose credit uses it (`Method.credit`)."""
        return None

    def credit(self, evidence: Evidence) -> Credited:
        """Compute the credit of the batch, and report its metrics."""
        credited = credit_groups(self, evidence)
        self.report({"groups_process_signal_only": credited.process_only})
        return credited

    def advantages(self, width: int) -> torch.Tensor | None:
        """Return advantages of shape (B, width) that replace TRL's of shape (B,), or None to keep TRL's."""
        evidence = self.find_evidence()
        return None if evidence is None else self.credit(evidence).padded(width)

    def rollouts_kept(self) -> None:
        """React to a batch that has been stored but not trained on yet; a subclass can stop training here."""

    def count_failures(self, reasons: Counter[str], asked: int) -> tuple[int, int, str]:
        """Return how many judgments of the batch failed, the number of judgments, and this process's reasons as text.

        The counts are summed over all processes, so that all processes stop together. Otherwise some would wait for a
        process that has ended.
        """
        local = torch.tensor([[reasons.total(), asked]], device=self.accelerator.device)
        failed, everything = self.accelerator.gather(local).sum(dim=0).tolist()
        counted = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
        return failed, everything, counted or "in other processes"

    def _generate(self, prompts: list[Any]) -> Any:
        began = time.perf_counter()
        generated = super()._generate(prompts)
        self.report({"seconds_generate": time.perf_counter() - began})
        return generated

    def _generate_single_turn(self, *args: Any, **kwargs: Any) -> Any:
        generate: Any = super()._generate_single_turn
        with self._watched() if self.watches else nullcontext():
            return generate(*args, **kwargs)

    def _watched(self) -> AbstractContextManager[None]:
        """Return a context in which the sampler reports each finished rollout.

        A vLLM server, and an engine that splits the model over GPUs, cannot report single rollouts; for them the
        context does nothing.
        """
        if not self.use_vllm:
            model = self.accelerator.unwrap_model(self.model_wrapped)
            return watch_generate(model, self.eos_token_ids, self._finished)
        sampler = self.vllm_generation
        if sampler.mode == "colocate" and sampler.tensor_parallel_size == 1:
            return watch_engine(sampler.llm, self._finished)
        return nullcontext()

    def _finished(self, row: int, ids: list[int]) -> None:
        self.rollout_finished(row, index_steps([ids], self.tokenizer, self.segmenter).steps[0])

    def _calculate_rewards(self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any) -> Any:
        self.alignment = index_steps(completion_ids_list, self.tokenizer, self.segmenter)
        self.cut = [not ids or ids[-1] not in self.eos_token_ids for ids in completion_ids_list]
        self.rollouts_known()
        self.truth = [self.wrong_steps(*pair) for pair in zip(self.problems, self.alignment.steps, strict=True)]
        return super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        began = time.perf_counter()
        self.problems = [Problem(row["problem"], row["text"], row["answer"]) for row in inputs]
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        self.prompt_tokens = output["prompt_mask"].sum(dim=1).tolist()
        replaced = self.advantages(output["completion_ids"].size(1))
        if replaced is not None:
            output["advantages"] = replaced.to(output["advantages"])
        self.keep()
        self.rollouts_kept()
        self.report({**self.rollout_metrics(), "seconds_rollout": time.perf_counter() - began})
        return output


def build_settings(
    run: TrainRun, backbone: BackboneConfig, trainer_class: type[PolicyTrainer] = PolicyTrainer
) -> GRPOConfig:
    """Return TRL's settings for a method: those of the paper's GRPO, except for what the method's trainer overrides.

    Raises:
        ValueError: The rollouts of a step cannot be divided among the processes and micro-batches.
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
        max_steps=train.steps * train.updates_per_batch,
        per_device_train_batch_size=micro_batch,
        gradient_accumulation_steps=rollouts // (processes * micro_batch),
        num_generations=train.group_size,
        # An update uses all of a batch (steps_per_generation is gradient_accumulation_steps). Our step is all updates
        # on a batch, TRL's step is one update; logs and checkpoints are written once per step of ours. Therefore all
        # state that TRL loses when it resumes is empty or 0 at every checkpoint: sampled batches, its count of
        # micro-batches (which only matters modulo those of a batch), and the metrics of an unfinished step.
        num_iterations=train.updates_per_batch,
        logging_steps=train.updates_per_batch,
        max_completion_length=train.max_completion_tokens,
        temperature=train.temperature,
        top_p=1.0,
        top_k=0,
        learning_rate=train.learning_rate,
        lr_scheduler_type=train.schedule,
        weight_decay=0.0,
        max_grad_norm=train.max_grad_norm,
        # The paper's GRPO averages within a response, then over responses. TRL's default is DAPO's average over tokens.
        loss_type="grpo",
        scale_rewards="group",
        importance_sampling_level="token",  # `RatioTrainer` computes sequence ratios
        epsilon=train.clip.lower,
        epsilon_high=train.clip.upper or train.clip.lower,
        beta=train.kl,
        mask_truncated_completions=False,
        # Problems are already in random order; the order depends on the seed, not on the trainer.
        shuffle_dataset=False,
        gradient_checkpointing=backbone.gradient_checkpointing,
        bf16=backbone.precision == "bfloat16",
        use_cpu=not torch.cuda.is_available(),
        save_strategy="no",  # `Saver` decides when to save
        report_to=[],
        disable_tqdm=True,
        seed=run.seed,
    )
    return shared(**select_sampling(backbone), **trainer_class.overrides(train))


def train_policy(
    run: TrainRun,
    trainer_class: type[PolicyTrainer],
    segmenter: str,
    critic_parameters: int | None = 0,
    **extra: Any,
) -> bool:
    """Train a policy from `run.start`, or resume from `run.resume`.

    Args:
        run: The trial, its files and its limits.
        trainer_class: Trainer of the method.
        segmenter: Name of the segmenter that cuts rollouts into steps.
        critic_parameters: Number of the critic's parameters; 0 without a critic, None if unknown.
        **extra: Further arguments of the trainer.

    Returns:
        True when training is complete and the model is in `run.model`, False when it was stopped with a checkpoint.
    """
    config = run.config
    backbone = BACKBONES.load(config.backbone)
    place = locate(run.start, None if Path(run.start).is_dir() else backbone.revision)
    tokenizer = AutoTokenizer.from_pretrained(place.tokenizer, padding_side="left", trust_remote_code=False)
    model = load_start(place, backbone)
    args = build_settings(run, backbone, trainer_class)
    _set_ends(model, read_conventions(backbone.template, model.config, model.generation_config, tokenizer), args)
    benchmark = find_benchmark(config.benchmark)
    weights = sum(weight.numel() for name, weight in model.named_parameters() if "lora_" not in name)
    updates = config.train.updates_per_batch
    meter = Meter(weights, critic_parameters, config.train.budget, updates)
    with lock_server(backbone.vllm), Verifier() as verifier:
        trainer = trainer_class(
            config=config,
            segmenter=segmenter,
            benchmark=benchmark,
            verifier=verifier,
            model=model,
            args=args,
            peft_config=None if place.adapter else configure_adapters(backbone),
            train_dataset=_load_problems(run, benchmark, backbone, tokenizer),
            tokenizer=tokenizer,
            rollouts=run.rollouts,
            **extra,
        )
        saver = _make_saver(run, trainer)
        record, add = partial(record_step, run), partial(_sum, trainer)
        trainer.add_callback(Recorder(record, config.train.steps, meter, add, updates))
        trainer.add_callback(saver)
        trainer.remove_callback(PrinterCallback)
        trainer.train(resume_from_checkpoint=run.resume)
    if saver.stopped:
        return False
    name_base(trainer.model, run.start, backbone.revision)
    _save_whole(trainer, run.model)
    return True


def _set_ends(model: Any, conventions: Conventions, args: GRPOConfig) -> None:
    """Set the end tokens to those of the model's turn, and drop the model's own sampling settings with a warning."""
    recommended = model.generation_config.to_diff_dict()
    if dropped := sorted(recommended.keys() - _NO_SAMPLING):
        log.warning("generation_config.json sets %s; rollouts follow the study's sampling alone", ", ".join(dropped))
    ends = sorted(conventions.ends)
    named: Any = GenerationConfig  # untyped
    model.generation_config = named(eos_token_id=ends, pad_token_id=recommended.get("pad_token_id"))
    if args.use_vllm:
        args.generation_kwargs = {"stop_token_ids": ends}


def _save_whole(trainer: PolicyTrainer, folder: Path) -> None:
    """Save the complete model, or its adapter. Checkpoints of FSDP may be sharded, but this gathers all parameters."""
    if trainer.is_fsdp_enabled:
        trainer.accelerator.state.fsdp_plugin.set_state_dict_type("FULL_STATE_DICT")
    trainer.save_model(str(folder))
    (folder / "README.md").unlink(missing_ok=True)  # an empty model card written by peft


def _sum(trainer: PolicyTrainer, value: float) -> float:
    """Return the sum of a number over the processes that train together."""
    total: torch.Tensor = trainer.accelerator.reduce(torch.tensor(value, device=trainer.accelerator.device))
    return float(total)


def _make_saver(run: TrainRun, trainer: PolicyTrainer) -> Saver:
    accelerator = trainer.accelerator

    def agree(wish: bool) -> bool:
        return _sum(trainer, float(wish)) > 0

    train = run.config.train

    def saved(updates: int) -> None:
        accelerator.wait_for_everyone()  # a checkpoint is complete when each process has written its part
        if accelerator.is_main_process:
            mark(run.out, updates, updates // train.updates_per_batch)

    total = train.steps * train.updates_per_batch
    return Saver(total, run.checkpoint_seconds, run.stop, agree, saved, train.budget)


def _load_problems(
    run: TrainRun, benchmark: Benchmark, backbone: BackboneConfig, tokenizer: PreTrainedTokenizerBase
) -> Dataset:
    """Return a problem for every group of the run, with a template (`prompt`) and in its original form (`text`)."""
    count = run.config.train.steps * run.config.train.prompts_per_step
    problems = benchmark.problems("train", count, run.seed)
    rows = [
        {
            "prompt": render(problem.prompt, backbone.template, tokenizer),
            "problem": problem.id,
            "text": problem.prompt,
            "answer": problem.answer,
        }
        for problem in problems
    ]
    return Dataset.from_list(rows)

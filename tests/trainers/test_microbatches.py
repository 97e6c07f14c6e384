"""Micro-batches by length: the update is that of TRL's padded and shuffled ones, and computes less."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from onebatch import trainer_of
from trl.trainer.grpo_trainer import GRPOTrainer

from trainers import capo
from trainers.dapo import DapoTrainer
from trainers.dr_grpo import DrGrpoTrainer
from trainers.microbatches import SortedTrainer, find_used_columns, sort_longest_first
from trainers.policy import PolicyTrainer
from trainers.rloo import RlooTrainer

PROMPTS = (5, 2, 5, 2, 3, 3, 5, 5)
COMPLETIONS = (7, 3, 5, 1, 6, 2, 4, 7)
CUT = {"train": {"steps": 1, "prompts_per_step": 2, "group_size": 4, "max_completion_tokens": 40, "micro_batch": 2}}


def test_rows_by_hand() -> None:
    mask = torch.tensor([[0, 1, 1, 0], [1, 1, 1, 1], [1, 1, 0, 0]])
    assert sort_longest_first(mask).tolist() == [1, 0, 2]  # 4, 2 and 2 tokens: equal lengths as they stand


@pytest.mark.parametrize(
    ("mask", "used"),
    [
        ([[0, 0, 1, 1, 1, 0], [0, 1, 1, 1, 0, 0]], (1, 2)),
        ([[1, 1, 1, 1, 1, 1]], (0, 3)),
        ([[0, 0, 1, 0, 0, 0]], (2, 1)),  # cut rollouts that a method leaves out: their completions are masked
        ([[0, 0, 0, 0, 0, 0]], (2, 1)),
    ],
)
def test_columns_without_a_token_by_hand(mask: list[list[int]], used: tuple[int, int]) -> None:
    assert find_used_columns(torch.tensor(mask), 3) == used


def whole(trainer: Any) -> dict[str, Any]:
    """A step of eight rollouts, padded as TRL pads them, with an advantage and a ratio for every token."""
    drawn = torch.Generator().manual_seed(0)
    prompt, completion = (torch.tensor(lengths)[:, None] for lengths in (PROMPTS, COMPLETIONS))
    prompt_mask = (torch.arange(5) >= 5 - prompt).long()
    completion_mask = (torch.arange(7) < completion).long()
    vocabulary = len(trainer.tokenizer)
    return {
        "prompt_ids": torch.randint(2, vocabulary, (8, 5), generator=drawn) * prompt_mask,
        "prompt_mask": prompt_mask,
        "completion_ids": torch.randint(2, vocabulary, (8, 7), generator=drawn) * completion_mask,
        "completion_mask": completion_mask,
        "advantages": torch.randn(8, 7, generator=drawn),
        "importance_sampling_ratio": torch.rand(8, 7, generator=drawn),
        "num_items_in_batch": completion_mask.sum(),
    }


def padded(kind: type[PolicyTrainer]) -> type[PolicyTrainer]:
    """The method as TRL alone would train it."""
    names = ("_prepare_inputs", "_get_per_token_logps_and_entropies", "_compute_loss")
    return type("Padded", (kind,), {name: getattr(GRPOTrainer, name) for name in names})


def update(trainer: Any, monkeypatch: pytest.MonkeyPatch, batch: dict[str, Any]) -> tuple[float, torch.Tensor, int]:
    """Return a step's loss and gradient, added up over its micro-batches, and how many columns the model passed."""
    monkeypatch.setattr(GRPOTrainer, "_generate_and_score_completions", lambda self, rows: batch)
    monkeypatch.setattr(PolicyTrainer, "_generate_and_score_completions", SortedTrainer._generate_and_score_completions)
    # As under vLLM, whose engine is not asked here: each token is weighted by its ratio.
    trainer.use_vllm = trainer.vllm_importance_sampling_correction = True
    trainer.model.train()
    trainer.model.zero_grad()
    count = trainer.args.gradient_accumulation_steps
    trainer.current_gradient_accumulation_steps = count
    widths: list[int] = []
    hook = trainer.model.model.register_forward_pre_hook(
        lambda module, args, kwargs: widths.append(kwargs["input_ids"].shape[1]), with_kwargs=True
    )
    total = 0.0
    for trainer._step in range(count):
        loss = trainer._compute_loss(trainer.model, trainer._prepare_inputs([]))
        loss.backward()
        total += loss.item()
    hook.remove()
    gradient = torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None])
    return total, gradient, sum(widths)


@pytest.mark.parametrize("kind", [PolicyTrainer, DapoTrainer, DrGrpoTrainer, RlooTrainer])
def test_loss_and_gradient_are_those_of_padded_micro_batches(
    make_run: Any, monkeypatch: pytest.MonkeyPatch, kind: type[PolicyTrainer]
) -> None:
    run, _ = make_run(**CUT)
    mine, trl = trainer_of(kind, run), trainer_of(padded(kind), run)
    loss, gradient, columns = update(mine, monkeypatch, whole(mine))
    expected, wanted, all_columns = update(trl, monkeypatch, whole(trl))
    assert loss == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(gradient, wanted, rtol=1e-4, atol=1e-6)
    assert gradient.abs().max() > 1e-3
    # Pairs by all their tokens, 12 12 · 10 9 · 9 5 · 5 3, are as wide as their longest prompt and completion.
    assert columns == (5 + 7) + (5 + 6) + (5 + 4) + (3 + 2)
    assert all_columns == 4 * (5 + 7)


def test_one_micro_batch_is_left_to_the_bit(make_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run, _ = make_run()
    mine, trl = trainer_of(DapoTrainer, run), trainer_of(padded(DapoTrainer), run)
    batch = whole(mine)
    batch["completion_mask"][:, 5:] = 0  # as where long rollouts were cut: nothing of these columns is learned
    results = []
    for trainer in (mine, trl):
        torch.manual_seed(0)  # TRL shuffles
        results.append(update(trainer, monkeypatch, batch))
    (loss, gradient, columns), (expected, wanted, all_columns) = results
    assert (loss, columns) == (expected, all_columns)
    assert torch.equal(gradient, wanted)


def test_scores_of_a_batch_are_those_of_its_rows_in_their_places(make_run: Any) -> None:
    run, _ = make_run(**CUT)
    mine, trl = trainer_of(PolicyTrainer, run), trainer_of(padded(PolicyTrainer), run)
    batch = whole(mine)
    ids, mask = (torch.cat([batch[f"prompt_{part}"], batch[f"completion_{part}"]], dim=1) for part in ("ids", "mask"))
    with torch.no_grad():
        scored = [
            each._get_per_token_logps_and_entropies(each.model, ids, mask, 7, batch_size=3, compute_entropy=True)
            for each in (mine, trl)
        ]
    for own, theirs in zip(scored[0][:2], scored[1][:2], strict=True):
        torch.testing.assert_close(own * batch["completion_mask"], theirs * batch["completion_mask"])


def test_a_step_reports_and_learns_the_same_in_any_number_of_micro_batches(make_run: Any) -> None:
    records = {}
    for size in (8, 2):
        run, steps = make_run(name=str(size), train={**CUT["train"], "micro_batch": size})
        assert capo.train(run)
        records[size] = steps[0]
    for name in ("loss", "grad_norm", "entropy", "policy_tokens"):
        assert records[2][name] == pytest.approx(records[8][name], rel=1e-4, abs=1e-6), name

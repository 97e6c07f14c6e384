"""Several updates on a batch: what is clipped, by which ratio, what it costs, and that a killed run goes on."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from onebatch import batch, loss_and_gradient, trainer_of

from trainers import capo, dapo, grpo_rule, rloo, valued
from trainers.backbones import BACKBONES
from trainers.checkpoints import find_newest
from trainers.dapo import DapoTrainer
from trainers.policy import PolicyTrainer, build_settings
from trainers.ratios import OLD, RatioTrainer, average_log_ratio

SCRIPT = Path(__file__).with_name("killed_between_updates.py")
TRAIN = {"steps": 3, "prompts_per_step": 2, "group_size": 4, "max_completion_tokens": 40}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def learnt(trainer: Any, lengths: tuple[int, ...], ratios: list[list[float]], advantages: Any) -> dict[str, Any]:
    """Return a batch whose tokens have these ratios of probabilities under the trainer's model."""
    inputs = batch(trainer, lengths)
    with torch.no_grad():
        ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
        mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
        new, *_ = trainer._get_per_token_logps_and_entropies(trainer.model, ids, mask, max(lengths))
    return {**inputs, OLD: new - torch.tensor(ratios).log(), "advantages": torch.tensor(advantages)}


def updated(make_run: Any, **train: Any) -> Any:
    return trainer_of(PolicyTrainer, make_run(train={**TRAIN, "updates_per_batch": 2, **train})[0])


def test_the_clipped_loss_by_hand(make_run: Any) -> None:
    # ε_low = 0.2, ε_high = 0.3. Gains are capped above: 1.5 counts as 1.3, 0.5 as it is. Losses are not let go below
    # 0.8: −1 at 0.5 counts as −0.8, at 1.5 in full. Of the second response one token is clipped.
    trainer = updated(make_run, clip={"lower": 0.2, "upper": 0.3})
    inputs = learnt(trainer, (4, 2), [[1.5, 0.5, 0.5, 1.5], [1.0, 1.4, 1, 1]],
                    [[1.0, 1.0, -1.0, -1.0], [2.0, 2.0, 0, 0]])  # fmt: skip
    loss, _ = loss_and_gradient(trainer, inputs)
    first, second = (1.3 + 0.5 - 0.8 - 1.5) / 4, (2 * 1.0 + 2 * 1.3) / 2
    assert loss.item() == pytest.approx(-(first + second) / 2, abs=1e-5)
    metrics = trainer._metrics["train"]
    assert metrics["clip_ratio/region_mean"] == [pytest.approx(3 / 6)]
    assert metrics["mean_ratio"] == [pytest.approx((1.5 + 0.5 + 0.5 + 1.5 + 1.0 + 1.4) / 6)]


def test_a_clipped_token_teaches_nothing(make_run: Any) -> None:
    trainer = updated(make_run)
    advantages = [[1.0, 1.0, -1.0, -1.0]]
    clipped = learnt(trainer, (4,), [[1.21, 1.5, 0.79, 0.5]], advantages)
    assert loss_and_gradient(trainer, clipped)[1].abs().max() == 0
    assert loss_and_gradient(trainer, learnt(trainer, (4,), [[1.19, 0.5, 0.81, 1.5]], advantages))[1].abs().max() > 0


def test_the_ratio_of_a_sequence_is_the_geometric_mean_of_its_tokens() -> None:
    logs = torch.tensor([[2.0, 8.0, 1.0], [0.5, 77.0, 77.0], [3.0, 3.0, 3.0]]).log()
    mask = torch.tensor([[1, 1, 1], [1, 0, 0], [0, 0, 0]])
    assert average_log_ratio(logs, mask).exp().flatten().tolist() == pytest.approx([16 ** (1 / 3), 0.5, 1.0])


def test_sequences_are_clipped_whole_and_keep_the_credit_of_tokens(make_run: Any) -> None:
    # √(2 · 0.5) = 1 is within the clip, though both tokens are not; √(1.5 · 1.5) is not, for what would gain by it.
    trainer = updated(make_run, ratio="sequence")
    advantages = [[1.0, -3.0], [2.0, -1.0]]
    inputs = learnt(trainer, (2, 2), [[2.0, 0.5], [1.5, 1.5]], advantages)
    loss, gradient = loss_and_gradient(trainer, inputs)
    assert loss.item() == pytest.approx(-((1 - 3) / 2 + (1.2 * 2 - 1.5) / 2) / 2, abs=1e-5)
    assert inputs[OLD].shape == (2, 2), "the batch is as it was, for its next update"
    # As at a ratio of 1, 1 and 1.5, and nothing of the clipped token.
    plain = updated(make_run)
    expected = loss_and_gradient(plain, learnt(plain, (2, 2), [[1.0, 1.0], [1.0, 1.0]],
                                               [[1.0, -3.0], [0.0, -1.5]]))[1]  # fmt: skip
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-6)


def test_with_one_advantage_a_rollout_it_is_trls_gspo(make_run: Any) -> None:
    ours, theirs = updated(make_run, ratio="sequence"), updated(make_run)
    theirs.importance_sampling_level = "sequence"
    ratios = [[1.1, 0.9, 1.05], [0.7, 0.75, 1], [1.3, 1, 1]]
    inputs = [learnt(trainer, (3, 2, 1), ratios, [1.0, -0.5, 2.0]) for trainer in (ours, theirs)]
    (loss, gradient), (expected, slope) = map(loss_and_gradient, (ours, theirs), inputs)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradient, slope, rtol=1e-4, atol=1e-6)
    assert slope.abs().max() > 0


def test_the_old_probabilities_are_those_of_the_policy_that_sampled(
    make_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, records = make_run(train={**TRAIN, "updates_per_batch": 3, "learning_rate": 1e-3})
    report, seen = RatioTrainer._report_ratio, []

    def watched(self: RatioTrainer, ratios: torch.Tensor, mask: torch.Tensor) -> None:
        seen.append((self.state.global_step, ratios[mask.bool()]))
        report(self, ratios, mask)

    monkeypatch.setattr(RatioTrainer, "_report_ratio", watched)
    assert capo.train(run)
    assert [update for update, _ in seen] == [*range(9)]
    assert all((ratios == 1).all() for update, ratios in seen if update % 3 == 0), "nothing is learned since sampling"
    taught = [number for number, record in enumerate(records) if record["grad_norm"] > 0]
    assert taught
    assert all((ratios != 1).any() for update, ratios in seen if update // 3 in taught and update % 3)


def test_steps_are_batches_and_their_records_tell_of_all_updates(make_run: Any) -> None:
    once, records = make_run(name="once", train={**TRAIN, "learning_rate": 1e-3})
    both, twice = make_run(name="both", train={**TRAIN, "learning_rate": 1e-3, "updates_per_batch": 2})
    assert capo.train(once)
    assert capo.train(both)
    assert [record["step"] for record in twice] == [1, 2, 3]
    assert all(record["of"] == 3 for record in twice)
    assert sorted(path.name for path in both.rollouts.iterdir()) == [f"0000{n}.0.jsonl.gz" for n in (1, 2, 3)]
    first, same = twice[0], records[0]
    for name in ("outcome", "policy_tokens", "critic_tokens", "critiques", "steps_per_response"):
        assert first.get(name) == same.get(name), "a batch is sampled and judged once"
    tokens = first["policy_tokens"] + first["policy_prompt_tokens"]
    assert first["total_tokens"] == 2 * tokens
    assert first["train_flops"] - same["train_flops"] == 8 * first["policy_parameters"] * tokens
    assert all(0 <= record["clipped_tokens"] < 1 and record["mean_ratio"] > 0 for record in twice)
    assert any(record["clipped_tokens"] > 0 for record in twice)
    assert "mean_ratio" not in same


@pytest.mark.parametrize("ratio", ["token", "sequence"])
@pytest.mark.parametrize(
    ("method", "train"),
    [("grpo_rule", grpo_rule.train), ("dapo", dapo.train), ("rloo", rloo.train), ("vineppo", valued.train)],
)
def test_methods_take_several_updates(make_run: Any, method: str, train: Callable[..., bool], ratio: str) -> None:
    many = {**TRAIN, "steps": 1, "updates_per_batch": 2, "ratio": ratio, "micro_batch": 4}
    run, records = make_run(method=method, train=many, values={"samples": 2})
    assert train(run)
    assert math.isfinite(records[0]["loss"])


def test_dapo_has_its_own_upper_clip_unless_one_is_set(make_run: Any) -> None:
    for upper, expected in ((None, 0.14), (0.5, 0.5)):
        train = {**TRAIN, "updates_per_batch": 2, "clip": {"lower": 0.1, "upper": upper}}
        chosen = build_settings(make_run(method="dapo", train=train)[0], BACKBONES.load("tiny"), DapoTrainer)
        assert (chosen.epsilon, chosen.epsilon_high) == (0.1, pytest.approx(expected))


def test_one_update_is_what_it_was_without_the_seam(make_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with_seam, records = make_run(name="with", train={**TRAIN, "micro_batch": 4})
    assert capo.train(with_seam)
    for name in ("_compute_loss", "_get_per_token_logps_and_entropies"):
        monkeypatch.delattr(RatioTrainer, name)
    without, others = make_run(name="without", train={**TRAIN, "micro_batch": 4})
    assert capo.train(without)
    assert weights(with_seam.model) == weights(without.model)
    assert [record["loss"] for record in records] == [record["loss"] for record in others]


@pytest.mark.nightly
def test_a_run_that_is_killed_between_updates_ends_as_if_it_had_not_been(make_run: Any, start: str) -> None:
    changes = {"train": {**TRAIN, "updates_per_batch": 2, "learning_rate": 1e-3, "schedule": "cosine"}}
    whole, records = make_run(name="whole", **changes)
    assert capo.train(whole)
    broken, later = make_run(name="broken", **changes)
    given = json.dumps(broken.config.model_dump(mode="json"))
    command = [sys.executable, str(SCRIPT), start, str(broken.out.parent), given]
    root = str(Path(__file__).parents[2])
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": root}, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL
    point = find_newest(broken.out)
    assert point is not None
    assert (point.step, point.path.name) == (2, "checkpoint-4")
    assert capo.train(replace(broken, resume=str(point.path)))
    assert weights(broken.model) == weights(whole.model)
    assert [record["loss"] for record in later] == [record["loss"] for record in records[2:]]

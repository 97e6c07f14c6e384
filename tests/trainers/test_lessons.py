from __future__ import annotations

import pytest
import torch
from torch.optim import AdamW, Muon
from transformers import get_cosine_schedule_with_warmup

from trainers.backbones import BackboneConfig
from trainers.backbones.tiny import build_model, build_tokenizer
from trainers.lessons import MuonWithAdamW, compute_next_token_loss
from trainers.prm.embedded import build_model as build_prm

SHAPE = BackboneConfig(source="embedded", width=16, layers=1)


@pytest.fixture
def tokenizer():
    return build_tokenizer(["Ann has 3 coins. How many?\n"])


def names_by_optimizer(model):
    optimizer = MuonWithAdamW(model, 0.04, 3e-3)
    names = {id(weight): name for name, weight in model.named_parameters()}
    return [{names[id(weight)] for weight in group["params"]} for group in optimizer.param_groups]


@pytest.mark.parametrize(
    ("build", "head"),
    [(lambda words: build_model(SHAPE, words, 0), set()), (lambda words: build_prm(words, 0), {"score.weight"})],
    ids=["language model", "process reward model"],
)
def test_muon_takes_the_matrices_of_layers_and_adamw_the_rest_each_once(tokenizer, build, head):
    model = build(tokenizer)
    matrices, rest = names_by_optimizer(model)
    assert matrices == {name for name, _ in model.named_parameters() if name.endswith("_proj.weight")}
    assert {name for name in rest if "norm" not in name} - {"score.bias"} == {"model.embed_tokens.weight"} | head
    assert matrices | rest == {name for name, _ in model.named_parameters()}
    assert not matrices & rest


def test_a_step_is_that_of_both_optimizers_at_the_rates_of_the_schedule(tokenizer):
    """Against the two optimizers by hand, over a cosine of four steps whose second half is at lower rates."""
    ours, theirs = (build_model(SHAPE, tokenizer, 0) for _ in range(2))
    both = MuonWithAdamW(ours, 0.04, 3e-3)
    schedule = get_cosine_schedule_with_warmup(both, num_warmup_steps=1, num_training_steps=4)
    matrices = [weight for name, weight in theirs.named_parameters() if "proj" in name]
    rest = [weight for name, weight in theirs.named_parameters() if "proj" not in name]
    by_hand = [
        Muon(matrices, lr=0.04, weight_decay=0.0),
        AdamW(rest, lr=3e-3, betas=(0.9, 0.98), weight_decay=0.0),
    ]
    ids = torch.tensor([[5, 6, 7, 8]])
    for share in (0.0, 1.0, 0.75, 0.25):  # cos²(0), cos²(π/6), cos²(π/3) after one step of warm-up
        for model in (ours, theirs):
            model.zero_grad()
            model(input_ids=ids, labels=ids).loss.backward()
        both.step()
        schedule.step()
        for optimizer, peak in zip(by_hand, (0.04, 3e-3), strict=True):
            optimizer.param_groups[0]["lr"] = share * peak
            optimizer.step()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other)


def test_the_loss_of_a_part_is_its_share_of_the_mean_over_the_labels_of_the_step(tokenizer):
    """The head reads from the first label on, and the loss is that of all logits all the same."""
    model = build_model(SHAPE, tokenizer, 0)
    ids = torch.tensor([[5, 6, 7, 8, 9], [5, 6, 7, 0, 0]])
    labels = torch.tensor([[-100, -100, -100, 8, 9], [-100, -100, 7, -100, -100]])
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    batch = {"input_ids": ids, "attention_mask": mask, "labels": labels}
    logits = model(input_ids=ids, attention_mask=mask).logits.log_softmax(-1)
    expected = -(logits[0, 2, 8] + logits[0, 3, 9] + logits[1, 1, 7])
    assert compute_next_token_loss(model, batch, torch.tensor(10)).item() == pytest.approx(
        expected.item() / 10, rel=1e-5
    )
    assert compute_next_token_loss(model, batch, None).item() == pytest.approx(expected.item() / 3, rel=1e-5)

from __future__ import annotations

import pytest
import torch
from tokenizers import processors
from transformers import TrainerControl, TrainerState, TrainingArguments

from trainers.backbones import BackboneConfig
from trainers.backbones.tiny import build_model, build_tokenizer
from trainers.callbacks import Recorder
from trainers.sft import sort_by_length, tokenize, train_sft
from trainers.teaching import SupervisedConfig

LESSONS = [
    ("Ann has 3 coins. How many?\n", "3\n\n\\boxed{3}"),
    ("Bob has 12 coins. Bob finds 4. How many?\n", "12 + 4 = 16\n\n\\boxed{16}"),
    ("Eve has 5 coins. How many?\n", "\\boxed{5}"),
]
SHAPE = BackboneConfig(source="embedded", width=16, layers=1)


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(prompt + solution for prompt, solution in LESSONS)


def train(tokenizer, out, lessons=LESSONS, batch_size=3, rates=(0.04, 1e-2)):
    model, records = build_model(SHAPE, tokenizer, seed=0), []
    config = SupervisedConfig(problems_per_step=batch_size, learning_rate=rates[0], adamw_learning_rate=rates[1])
    train_sft(model, tokenizer, lessons, config, out, records.append)
    return model, records


def solution_loss(model, tokenizer, lessons):
    """Mean loss over the solutions' tokens and their ends, one lesson at a time, without any trainer."""
    losses = []
    for prompt, solution in lessons:
        read, said = tokenizer(prompt)["input_ids"], [*tokenizer(solution)["input_ids"], tokenizer.eos_token_id]
        with torch.no_grad():
            logits = model.eval()(torch.tensor([read + said])).logits[0, len(read) - 1 : -1]
        losses.append(torch.nn.functional.cross_entropy(logits, torch.tensor(said), reduction="none"))
    return torch.cat(losses).mean().item()


def test_the_loss_is_on_the_solution_and_its_end_by_hand(tokenizer):
    row = tokenize(tokenizer, LESSONS)[1]
    tokens = tokenizer.convert_ids_to_tokens(row["input_ids"])
    prompt = ["Bob", "Ġhas", "Ġ12", "Ġcoins", ".", "ĠBob", "Ġfinds", "Ġ4", ".", "ĠHow", "Ġmany", "?", "Ċ"]
    solution = ["12", "Ġ+", "Ġ4", "Ġ=", "Ġ16", "ĊĊ", "\\boxed{", "16", "}", "<|im_end|>"]
    assert "".join(tokens) == "".join(prompt + solution)
    masked = row["labels"].count(-100)
    assert row["labels"] == [-100] * masked + row["input_ids"][masked:]
    assert "".join(tokens[:masked]) == "".join(prompt)
    assert "".join(tokens[masked:]) == "".join(solution)


def test_a_token_that_opens_a_text_stands_before_the_prompt_alone():
    opening = build_tokenizer(prompt + solution for prompt, solution in LESSONS)
    opening.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)]
    )
    row = tokenize(opening, LESSONS)[0]
    assert row["input_ids"].count(0) == 1
    assert row["input_ids"][0] == 0
    assert row["labels"][0] == -100


def test_the_first_loss_recorded_is_that_of_the_solutions_alone(tokenizer, tmp_path):
    # Recorded before the first update, over three lessons of unlike lengths in one padded batch.
    _, records = train(tokenizer, tmp_path)
    expected = solution_loss(build_model(SHAPE, tokenizer, seed=0), tokenizer, LESSONS)
    assert records[0]["loss"] == pytest.approx(expected, abs=2e-4)


def test_the_model_is_trained_in_place(tokenizer, tmp_path):
    model, records = train(tokenizer, tmp_path, LESSONS * 20)
    assert len(records) == 20
    assert solution_loss(model, tokenizer, LESSONS) < records[0]["loss"] - 1


def test_lessons_are_taught_once_in_the_order_given(tokenizer, tmp_path):
    # With rates that change nothing, each step's loss is that of its own lesson.
    model = build_model(SHAPE, tokenizer, seed=0)
    expected = [solution_loss(model, tokenizer, [lesson]) for lesson in LESSONS]
    _, records = train(tokenizer, tmp_path, batch_size=1, rates=(1e-12, 1e-12))
    assert [record["loss"] for record in records] == pytest.approx(expected, abs=2e-4)


def test_the_last_step_takes_what_is_left(tokenizer, tmp_path):
    _, records = train(tokenizer, tmp_path, batch_size=2)
    assert [(record["step"], record["of"]) for record in records] == [(1, 2), (2, 2)]
    _, records = train(tokenizer, tmp_path, LESSONS[:1], batch_size=2)
    assert [(record["step"], record["of"]) for record in records] == [(1, 1)]


def test_the_lessons_of_a_step_go_by_length_and_steps_stay_as_they_are(tokenizer):
    lengths = [len(row["input_ids"]) for row in tokenize(tokenizer, LESSONS)]
    assert lengths != sorted(lengths)
    rows = sort_by_length(tokenize(tokenizer, [*LESSONS, *LESSONS]), 3)
    assert [len(row["input_ids"]) for row in rows] == 2 * sorted(lengths)


def test_a_step_in_parts_is_the_same_step(tokenizer, tmp_path, monkeypatch):
    """Lessons of unlike lengths, so that a mean over parts would not be the mean over tokens."""
    lessons = [LESSONS[at] for at in (0, 1, 2, 1, 1, 0, 2, 1, 0, 0, 1, 2)]  # 12: one whole step, and half of one
    in_parts, records = train(tokenizer, tmp_path, lessons, batch_size=8)
    monkeypatch.setattr("trainers.sft.PARTS", 1)
    whole, expected = train(tokenizer, tmp_path, lessons, batch_size=8)
    assert [record["loss"] for record in records] == pytest.approx([record["loss"] for record in expected], abs=2e-4)
    gradients = [[record["grad_norm"] for record in some] for some in (records, expected)]
    assert gradients[0] == pytest.approx(gradients[1], rel=1e-4)
    for (name, mine), other in zip(in_parts.named_parameters(), whole.parameters(), strict=True):
        # Muon works in bfloat16: of an update at its rate of 0.04, one part in 64 is rounding.
        by_muon = "proj" in name
        torch.testing.assert_close(mine, other, atol=0.04 / 64 if by_muon else 2e-5, rtol=1e-4)


def test_nothing_is_left_in_the_scratch_folder(tokenizer, tmp_path):
    train(tokenizer, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def arguments(tmp_path):
    return TrainingArguments(output_dir=str(tmp_path), use_cpu=True)


def test_the_recorder_hands_on_the_logs_of_steps_only(arguments):
    records = []
    recorder = Recorder(records.append, steps=3)
    state = TrainerState(global_step=2)
    recorder.on_step_begin(arguments, state, TrainerControl())
    recorder.on_log(arguments, state, TrainerControl(), {"loss": 0.5, "entropy": 1.0})
    recorder.on_log(arguments, state, TrainerControl(), {"train_runtime": 9.0})
    recorder.on_log(arguments, state, TrainerControl(), None)
    (record,) = records
    assert record.pop("seconds") >= 0
    assert record.pop("cpu_seconds") >= 0
    assert record == {"step": 2, "of": 3, "loss": 0.5, "entropy": 1.0}

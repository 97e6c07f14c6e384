from __future__ import annotations

import random

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from evals.coins.problems import draw, read
from evals.coins.solutions import SEPARATOR, check, demonstrate
from trainers.backbones import BackboneConfig
from trainers.cold_start import _draw_demonstrations, train_cold_start
from trainers.config import ColdStartConfig

BACKBONE = BackboneConfig(source="embedded", width=32, layers=1)
LESSON = ColdStartConfig(steps=12, problems_per_step=8, adamw_learning_rate=2e-2, slip=0.2, seed=4)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    # The order of sums depends on the number of threads, and with it the bits.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out, records = tmp_path_factory.mktemp("cold") / "start", []
    train_cold_start(BACKBONE, LESSON, out, records.append)
    return out, records


def weights(folder):
    return (folder / "model.safetensors").read_bytes()


def test_every_step_is_recorded_once(trained):
    _, records = trained
    assert [(record["step"], record["of"]) for record in records] == [(step, 12) for step in range(1, 13)]
    assert all({"loss", "seconds"} <= record.keys() for record in records)


def test_it_learns(trained):
    _, records = trained
    assert records[-1]["loss"] < records[0]["loss"] - 1


def test_what_it_leaves_is_a_model_with_its_tokenizer(trained):
    folder, _ = trained
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    assert model.config.vocab_size == len(tokenizer)
    assert model.dtype == torch.float32
    batch = tokenizer([draw("test", 1, 0)[0].prompt], return_tensors="pt")
    assert model.generate(**batch, max_new_tokens=3).shape[1] > batch["input_ids"].shape[1]


def test_it_leaves_no_checkpoints(trained):
    folder, _ = trained
    assert not [path.name for path in folder.iterdir() if path.is_dir()]


def test_the_same_lesson_gives_the_same_bytes(trained, tmp_path):
    torch.manual_seed(99)  # what was drawn before does not matter
    train_cold_start(BACKBONE, LESSON, tmp_path, lambda record: None)
    assert weights(tmp_path) == weights(trained[0])
    assert (tmp_path / "tokenizer.json").read_bytes() == (trained[0] / "tokenizer.json").read_bytes()


def test_another_seed_gives_another_model(trained, tmp_path):
    train_cold_start(BACKBONE, LESSON.model_copy(update={"seed": 5}), tmp_path, lambda record: None)
    assert weights(tmp_path) != weights(trained[0])


def test_lessons_are_problems_of_the_lengths_asked_for():
    lessons = list(_draw_demonstrations(LESSON))
    problems = draw("lessons", 12 * 8, LESSON.seed, LESSON.operations)
    assert [prompt for prompt, _ in lessons] == [problem.prompt for problem in problems]
    lengths = {len(read(prompt).operations) for prompt, _ in lessons}
    shortest, longest = LESSON.operations
    assert lengths == set(range(shortest, longest + 1))


def test_lessons_go_wrong_as_asked():
    def slips(config):
        return sum(
            len(check(read(prompt), text.split(SEPARATOR)).wrong) for prompt, text in _draw_demonstrations(config)
        )

    assert slips(LESSON) > 0
    assert slips(LESSON.model_copy(update={"slip": 0.0})) > 0  # by misconceptions
    assert slips(LESSON.model_copy(update={"slip": 0.0, "misconceptions": ()})) == 0


def test_a_demonstration_boxes_the_total_it_came_to():
    prompt = draw("lessons", 1, 0)[0].prompt
    assert demonstrate(read(prompt), random.Random(0)).endswith(f"\\boxed{{{read(prompt).totals()[-1]}}}")

"""A model of random weights, small enough to be made in each file of tests."""

from __future__ import annotations

from evals.coins import COINS
from trainers.backbones import BackboneConfig
from trainers.backbones.tiny import build_model, build_tokenizer, save

PROBLEMS = COINS.problems("train", 5)
PROMPTS = [problem.prompt for problem in PROBLEMS]


def tokenizer_of_coins():
    return build_tokenizer([problem.prompt for problem in COINS.problems("train", 40)])


def save_model(folder, seed=0, tokenizer=None, width=16):
    """Write model and tokenizer; return the folder as text."""
    tokenizer = tokenizer or tokenizer_of_coins()
    save(build_model(BackboneConfig(source="embedded", width=width, layers=1), tokenizer, seed=seed), tokenizer, folder)
    return str(folder)

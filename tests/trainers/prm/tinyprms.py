"""Process reward models for the tests: the embedded one after a short lesson, and one as Qwen's are laid out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from trainers.backbones.tiny import build_tokenizer
from trainers.prm.config import EmbeddedPrmConfig
from trainers.prm.embedded import train_prm

SHORT = EmbeddedPrmConfig(steps=4, problems_per_step=8)
CHATML = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nReason step by step.<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def write_taught(folder: Path) -> None:
    """Write the embedded model after four steps: it scores, and knows nothing."""
    torch.set_num_threads(1)
    train_prm(SHORT, folder, lambda record: None)


def write_qwen(folder: Path) -> None:
    """Write a random model of Qwen2.5-Math-PRM's architecture, which names code of its own as the hub's does."""
    from transformers import Qwen2Config, Qwen2TokenizerFast

    from trainers.prm.scorer import Qwen2ForProcessRewardModel

    backend: Any = build_tokenizer(["Ann has 3 coins. Ann finds 4. How many?\n3 + 4 = 7\n\n\\boxed{7}"] * 3)
    backend.backend_tokenizer.save(str(folder / "tokenizer.json"))
    extra = ["<|im_start|>", "<|im_end|>", "<extra_0>"]
    tokenizer = Qwen2TokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), additional_special_tokens=extra)
    tokenizer.chat_template = CHATML
    shape = Qwen2Config(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=512, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    torch.manual_seed(0)
    Qwen2ForProcessRewardModel(shape).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    code = {"AutoModel": "modeling_qwen2_rm.Qwen2ForProcessRewardModel", "AutoConfig": "configuration_qwen2_rm.Config"}
    (folder / "config.json").write_text(json.dumps({**config, "auto_map": code}))
    (folder / "modeling_qwen2_rm.py").write_text("raise SystemExit('code of a repository was run')\n")
    (folder / "configuration_qwen2_rm.py").write_text("raise SystemExit('code of a repository was run')\n")

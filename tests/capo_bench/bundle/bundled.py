"""A small real study, its bundle, and bundles changed as a forger would change them."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

STUDY = """
name: tiny
question: Does a bundle hold what a check needs?
baseline: grpo_rule
metrics: [coins_test/accuracy, coins_test/wrong_step_rate]
base:
  cold_start: {steps: 4, problems_per_step: 16}
  train: {steps: 2, prompts_per_step: 2, group_size: 4, max_completion_tokens: 40}
  critic: {name: noisy}
  credit: {critiques: 2}
  evaluation: {tasks: [coins_test], problems: 8, max_completion_tokens: 40}
include:
  - {name: majority, set: {method: capo, credit.vote: majority}}
  - {name: grpo_rule, set: {method: grpo_rule}}
seeds: [0]
"""

Files = dict[str, bytes]


def read(path: Path) -> Files:
    with tarfile.open(path) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


def pack(path: Path, files: Files) -> Path:
    """Write an archive of files whose checksums are of them: what a forger would do."""
    for place in [name for name in files if name.endswith("/SHA256SUMS")]:
        folder = place.removesuffix("SHA256SUMS")
        listed = [row[66:] for row in files[place].decode().splitlines()]
        found = [(hashlib.sha256(files[folder + path]).hexdigest(), path) for path in listed if folder + path in files]
        files[place] = "".join(f"{value}  {path}\n" for value, path in found).encode()
    return raw(path, files)


def raw(path: Path, files: Files, *more: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, data in files.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            tar.addfile(header, io.BytesIO(data))
        for header in more:
            tar.addfile(header)
    return path


def named(files: Files, ending: str, variant: str = "majority") -> str:
    """Return the file of a variant's trial."""
    trials = {name.split("/")[1] for name in files if name.startswith("trials/")}
    (trial,) = (t for t in trials if json.loads(files[f"trials/{t}/config.json"])["variant"] == variant)
    keys = json.loads(files[f"trials/{trial}/stages.json"])
    places = [f"trials/{trial}/", *(f"stages/{place.partition('/')[0]}/{key}/" for place, key in keys.items())]
    return min((name for name in files if name.startswith(tuple(places)) and name.endswith(ending)), key=len)

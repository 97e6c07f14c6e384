"""Generate random numbers that depend only on the seed, the prompt, the completion's index and the position in it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def draw_key(seed: int, prompt: str) -> bytes:
    """Return the key of the random numbers of all completions of a prompt (32 bytes)."""
    return hashlib.sha256(f"{seed}\n{prompt}".encode("utf-8", "surrogatepass")).digest()


def draw_seed(seed: int, prompt: str) -> int:
    """Return the seed of a prompt's first completion: below 2**30, so that an index can be added for any server."""
    return int.from_bytes(draw_key(seed, prompt)[:4], "big") >> 2


def draw_numbers(keys: Sequence[bytes], first: int, n: int, length: int) -> npt.NDArray[np.float64]:
    """Return the random numbers that determine the tokens, shape (keys, n, length); each completion has its own."""
    return np.stack([[make_uniform_draws(key, first + place, length) for place in range(n)] for key in keys])


def make_uniform_draws(key: bytes, index: int, count: int) -> npt.NDArray[np.float64]:
    """Return the numbers in [0, 1) that determine the tokens of completion `index`; longer results start equally."""
    raw = hashlib.shake_256(key + index.to_bytes(4, "little")).digest(8 * count)
    # The upper 53 bits, so that every value is an exact float below 1.
    return (np.frombuffer(raw, dtype="<u8") >> np.uint64(11)).astype(np.float64) * 2.0**-53

"""What a trial rests on."""

from __future__ import annotations

from capo_bench.store.walk import find_shared_keys


def test_the_keys_of_shared_models_are_those_of_the_identity() -> None:
    training = {"cold_start": {"key": "a"}, "critic": {"name": "transformers", "embedded": "b"}, "method": "capo"}
    assert find_shared_keys({"training": training}) == {"cold_start": "a", "critic": "b"}
    training = {"cold_start": None, "prm": {"embedded": "c"}, "critic": {"name": "exact"}}
    assert find_shared_keys({"training": training}) == {"prm": "c"}

"""Where results come from, and when that is a warning."""

from types import SimpleNamespace
from typing import Any

import pytest

from capo_bench.analysis.provenance import compare_provenance, format_leaf
from capo_bench.store.records import flatten
from trainers.config import TrialConfig
from trainers.teaching import add_trial_seed

HERE = {
    "git": {"commit": "aaa", "dirty": False},
    "packages": {"torch": "2.13.0"},
    "hardware": {"gpus": []},
    "python": "3.11.2",
}


def run(seed: int, **changes):
    trial = SimpleNamespace(variant="capo", seed=seed, id=f"id{seed}", config=TrialConfig())
    return SimpleNamespace(trial=trial, provenance={**HERE, **changes})


def test_what_all_share_is_told_once():
    found = compare_provenance([run(0), run(1)])
    assert found.shared == {
        "git.commit": "aaa",
        "git.dirty": "no",
        "packages.torch": "2.13.0",
        "hardware.gpus": "(none)",
        "python": "3.11.2",
    }
    assert found.differing == {}
    assert found.warnings == ()


def test_mixed_commits_are_a_warning():
    found = compare_provenance([run(0), run(1, git={"commit": "bbb", "dirty": False})])
    assert found.differing == {"git.commit": {"aaa": ("capo, seed 0 (id0)",), "bbb": ("capo, seed 1 (id1)",)}}
    assert found.warnings == (
        "Trials come from different commits or working trees (git.commit: aaa or bbb): "
        "differences may come from there.",
    )


def test_mixed_packages_are_a_warning_that_counts_what_it_leaves_out():
    others = dict.fromkeys("abcde", "1")
    (warning,) = compare_provenance([run(0), run(1, packages={"torch": "2.13.0", **others})]).warnings
    assert warning.startswith("Trials come from different package versions (packages.a: (absent) or 1; ")
    assert "and 2 more" in warning


def test_plumbing_that_differs_is_a_warning():
    one, other = ({"trainers.rollouts": value, "trainers.callbacks": "1"} for value in ("a", "b"))
    (warning,) = compare_provenance([run(0, plumbing=one), run(1, plumbing=other)]).warnings
    assert warning.startswith("Trials come from different versions of code that no trial's id knows")
    assert "(plumbing.trainers.rollouts: a or b)" in warning


def test_times_and_fingerprints_may_differ():
    found = compare_provenance(
        [run(0, started="1", fingerprints={"critic": "x"}), run(1, started="2", fingerprints={})]
    )
    assert set(found.differing) == {"started", "fingerprints.critic", "fingerprints"}
    assert found.warnings == ()


def test_uncommitted_changes_are_a_warning():
    found = compare_provenance(
        [run(0, git={"commit": "aaa", "dirty": True}), run(1, git={"commit": "aaa", "dirty": True})]
    )
    assert found.warnings == ("2 of 2 trials ran with uncommitted changes: their commit does not tell all.",)


def test_a_trial_without_provenance_is_named():
    bare = SimpleNamespace(trial=run(5).trial, provenance={})
    assert "1 of 2 trials left no provenance: capo, seed 5 (id5)." in compare_provenance([run(0), bare]).warnings


def test_flattening():
    tree = {"a": {"b": 1, "c": []}, "d": [1, 2], "e": [{"f": None}], "g": {}}
    assert flatten(tree) == {"a.b": 1, "a.c": [], "d": [1, 2], "e.0.f": None, "g": {}}


def test_leaves_as_text():
    assert [format_leaf(x) for x in (True, None, 1.5, ["a", 2], [], "x", {})] == [
        "yes",
        "(none)",
        "1.5",
        "a, 2",
        "(none)",
        "x",
        "{}",
    ]


def runs_of(tree: dict[str, Any], seeds: tuple[int, ...] = (0, 1)):
    config = TrialConfig.model_validate(tree)
    found = [run(seed) for seed in seeds]
    for one in found:
        one.trial.config = add_trial_seed(config, one.trial.seed)
    return found


EMBEDDED: dict[str, Any] = {"name": "transformers", "embedded": {"seed": "trial"}}
OWN: dict[str, Any] = {"cold_start": {"seed": "trial"}, "critic": EMBEDDED}


@pytest.mark.parametrize(
    ("tree", "shared", "own"),
    [
        ({}, "Start", None),
        ({"critic": {"name": "transformers"}}, "Start and critic", None),
        (OWN, None, "start and critic"),
        ({"critic": EMBEDDED}, "Start", "critic"),
        ({**OWN, "method": "grpo_rule"}, None, "start"),  # asks no critic
        ({"method": "prm_sum", "prm": {"embedded": {"seed": "trial"}}}, "Start", "process reward model"),
        ({"backbone": "qwen2.5-1.5b", "cold_start": None}, None, None),
    ],
)
def test_what_seeds_share_is_said(tree: dict[str, Any], shared: str | None, own: str | None):
    rule = "one training each, shared by all seeds: no interval here knows how much others would differ."
    expected = [f"{shared}: {rule}"] if shared else []
    expected += [f"Each seed has its own {own}."] if own else []
    assert list(compare_provenance(runs_of(tree)).pipelines) == expected


def test_what_some_variants_share_is_shared():
    found = compare_provenance([*runs_of(OWN), *runs_of({"critic": {"name": "exact"}})])
    assert found.pipelines[0].startswith("Start: one training each, shared")
    assert found.pipelines[1] == "Each seed has its own critic."


def test_of_a_single_seed_nothing_is_said():
    assert compare_provenance(runs_of(OWN, seeds=(3,))).pipelines == ()

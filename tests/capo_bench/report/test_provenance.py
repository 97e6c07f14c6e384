"""Where results come from, and when that is a warning."""

from types import SimpleNamespace

from capo_bench.report.provenance import flatten, provenance, text

HERE = {
    "git": {"commit": "aaa", "dirty": False},
    "packages": {"torch": "2.13.0"},
    "hardware": {"gpus": []},
    "python": "3.11.2",
}


def run(seed: int, **changes):
    trial = SimpleNamespace(variant="capo", seed=seed, id=f"id{seed}")
    return SimpleNamespace(trial=trial, provenance={**HERE, **changes})


def test_what_all_share_is_told_once():
    found = provenance([run(0), run(1)])
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
    found = provenance([run(0), run(1, git={"commit": "bbb", "dirty": False})])
    assert found.differing == {"git.commit": {"aaa": ("capo, seed 0 (id0)",), "bbb": ("capo, seed 1 (id1)",)}}
    assert found.warnings == (
        "Trials come from different commits or working trees (git.commit: aaa or bbb): "
        "differences may come from there.",
    )


def test_mixed_packages_are_a_warning_that_counts_what_it_leaves_out():
    others = dict.fromkeys("abcde", "1")
    (warning,) = provenance([run(0), run(1, packages={"torch": "2.13.0", **others})]).warnings
    assert warning.startswith("Trials come from different package versions (packages.a: (absent) or 1; ")
    assert "and 2 more" in warning


def test_times_and_fingerprints_may_differ():
    found = provenance([run(0, started="1", fingerprints={"critic": "x"}), run(1, started="2", fingerprints={})])
    assert set(found.differing) == {"started", "fingerprints.critic", "fingerprints"}
    assert found.warnings == ()


def test_uncommitted_changes_are_a_warning():
    found = provenance([run(0, git={"commit": "aaa", "dirty": True}), run(1, git={"commit": "aaa", "dirty": True})])
    assert found.warnings == ("2 of 2 trials ran with uncommitted changes: their commit does not tell all.",)


def test_a_trial_without_provenance_is_named():
    bare = SimpleNamespace(trial=run(5).trial, provenance={})
    assert "1 of 2 trials left no provenance: capo, seed 5 (id5)." in provenance([run(0), bare]).warnings


def test_flattening():
    tree = {"a": {"b": 1, "c": []}, "d": [1, 2], "e": [{"f": None}], "g": {}}
    assert flatten(tree) == {"a.b": 1, "a.c": [], "d": [1, 2], "e.0.f": None, "g": {}}


def test_leaves_as_text():
    assert [text(x) for x in (True, None, 1.5, ["a", 2], [], "x", {})] == [
        "yes",
        "(none)",
        "1.5",
        "a, 2",
        "(none)",
        "x",
        "{}",
    ]

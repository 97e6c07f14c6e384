"""`capo_bench.store.provenance`: what a result came from."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import subprocess

import pytest

from capo_bench.store.provenance import PACKAGES, _describe_git, describe_environment, find_version

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
UNKNOWN = {"commit": None, "dirty": None}


def git(folder, *arguments):
    who = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", "-C", folder, *who, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path):
    folder = tmp_path / "checkout"
    (folder / "package").mkdir(parents=True)
    (folder / "package" / "code.py").write_text("x = 1\n")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    return folder


@needs_git
def test_a_clean_checkout_is_named_by_its_commit(checkout):
    assert _describe_git(checkout / "package") == {"commit": git(checkout, "rev-parse", "HEAD"), "dirty": False}


@needs_git
def test_a_changed_file_makes_it_dirty_and_a_commit_clean_again(checkout):
    first = _describe_git(checkout / "package")["commit"]
    (checkout / "package" / "code.py").write_text("x = 2\n")
    assert _describe_git(checkout / "package") == {"commit": first, "dirty": True}
    git(checkout, "commit", "-qam", "second")
    second = _describe_git(checkout / "package")
    assert second["dirty"] is False
    assert second["commit"] != first


@needs_git
def test_results_lying_about_do_not_make_it_dirty(checkout):
    (checkout / "results.json").write_text("{}")
    assert _describe_git(checkout / "package")["dirty"] is False


@needs_git
def test_outside_a_checkout_nothing_is_known(tmp_path):
    assert _describe_git(tmp_path) == UNKNOWN
    assert _describe_git(tmp_path / "missing") == UNKNOWN


@needs_git
def test_a_package_installed_within_somebody_elses_checkout_does_not_take_its_commit(checkout):
    installed = checkout / ".venv" / "site-packages" / "package"
    installed.mkdir(parents=True)
    (installed / "code.py").write_text("x = 1\n")
    assert _describe_git(installed) == UNKNOWN


@needs_git
def test_before_the_first_commit_nothing_is_known(tmp_path):
    (tmp_path / "code.py").write_text("x = 1\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    assert _describe_git(tmp_path) == UNKNOWN


def test_without_git_nothing_is_known(checkout, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert _describe_git(checkout) == UNKNOWN


def test_the_environment_is_plain_and_names_packages_and_machine():
    found = describe_environment()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert set(found) == {"git", "python", "packages", "hardware"}
    assert tuple(found["packages"]) == PACKAGES
    assert found["packages"]["torch"] == importlib.metadata.version("torch")
    assert found["hardware"]["cores"] >= 1
    assert isinstance(found["hardware"]["gpus"], list)


def test_a_package_that_is_not_installed_has_no_version():
    assert find_version("no-such-package-anywhere") is None

"""A small real study in a bundle: continued elsewhere, verified, and tampered with in ways that must be noticed."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bundled import Files, named, pack, raw, read
from commands import capo_bench

from capo_bench.store.home import Home
from capo_bench.store.lock import hold_lock
from capo_bench.verify.checks import Check
from capo_bench.verify.study import verify_bundle
from evals.checksums import seal

REPORT = "studies/tiny/profiles/quick/report"


def test_a_bundle_of_a_real_study_verifies(study: Path) -> None:
    found = verify_bundle(study / "tiny.tar.gz")
    assert found.passed
    assert found.trials == 2
    empty = {name for name, check in found.checks.items() if not check.compared}
    assert empty == {"tracked"}, "a bundle has no MLflow store"
    out = capo_bench(study, "verify", "tiny.yaml", "--home", "home", "--json")
    assert json.loads(out)["passed"] is True


def test_the_same_content_gives_the_same_bytes(study: Path, tmp_path: Path) -> None:
    capo_bench(study, "bundle", "tiny.yaml", "--home", "home", "--out", str(tmp_path / "again.tar.gz"))
    assert (tmp_path / "again.tar.gz").read_bytes() == (study / "tiny.tar.gz").read_bytes()
    files = read(study / "tiny.tar.gz")
    assert not [name for name in files if "/model/" in name or name.endswith((".log", ".lock", ".bin"))]
    assert str(study).encode() not in b"".join(files.values())


def test_half_a_study_is_continued_elsewhere(study: Path, tmp_path: Path) -> None:
    out = capo_bench(tmp_path, "bundle", str(study / "half.tar.gz"), "--into", "there")
    command = ["run", "there/studies/tiny/profiles/quick/study.yaml", "--profile", "quick", "--home", "there"]
    assert " ".join(command) in out
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "there" / "trials").rglob("*") if path.is_file()}
    assert sum(path.name == "metrics.json" for path in before) == 1
    capo_bench(tmp_path, *command, "--no-tracking", "--workers", "1")
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(list((tmp_path / "there" / "stages" / "cold_start").glob("[!.]*/model.safetensors"))) == 1
    there, here = (table(home / REPORT) for home in (tmp_path / "there", study / "home"))
    assert there == here


def table(report: Path) -> list[dict[str, str]]:
    """Return the report's table without what a clock decides."""
    with (report / "table.csv").open(encoding="utf-8") as file:
        return [{key: cell for key, cell in row.items() if "seconds" not in key} for row in csv.DictReader(file)]


def test_what_is_there_is_left_and_what_differs_is_named(study: Path, tmp_path: Path) -> None:
    bundle = str(study / "tiny.tar.gz")
    capo_bench(tmp_path, "bundle", bundle, "--into", "there")
    metrics = next((tmp_path / "there" / "trials").glob("*/metrics.json"))
    metrics.write_text("{}", encoding="utf-8")
    seal(metrics.parent, [metrics.name])
    out = capo_bench(tmp_path, "bundle", bundle, "--into", "there")
    assert f"kept, although it differs: trials/{metrics.parent.name}" in out
    assert metrics.read_text(encoding="utf-8") == "{}"
    assert not list((tmp_path / "there").glob(".unpacking*"))


def edited(name: str, pattern: bytes, new: bytes) -> Callable[[Files], str]:
    def edit(files: Files) -> str:
        place = name if name in files else named(files, name)
        files[place], changed = re.subn(pattern, new, files[place], count=1)
        assert changed
        return place

    return edit


def swapped(files: Files) -> str:
    one, other = (named(files, "/config.json", variant).split("/")[1] for variant in ("majority", "grpo_rule"))
    moved = {name: data for name, data in files.items() if name.startswith("trials/")}
    for name in moved:
        del files[name]
    exchange = {one: other, other: one}
    for name, data in moved.items():
        first, trial, rest = name.split("/", 2)
        files[f"{first}/{exchange[trial]}/{rest}"] = data
    return f"trials/{one}/config.json: id"


def swapped_samples(files: Files) -> str:
    one, other = (named(files, "task.json", variant) for variant in ("majority", "grpo_rule"))
    files[one], files[other] = files[other], files[one]
    return f"{one}: weights of the model"


def cut_short(files: Files) -> str:
    name = named(files, "generations.jsonl")
    files[name] = files[name][: len(files[name]) // 2]
    return named(files, "result.json").rpartition("/")[0]


@pytest.mark.parametrize(
    ("check", "change"),
    [
        ("identities", swapped),
        ("identities", swapped_samples),
        ("samples", cut_short),
        ("report", edited(f"{REPORT}/figures/cost.svg", rb"<path d=\"M ?\d", b'<path d="M 9')),
    ],
)
def test_a_forged_bundle_is_found_out_by_name(study: Path, tmp_path: Path, check: Any, change: Any) -> None:
    files = read(study / "tiny.tar.gz")
    place = change(files).removeprefix("studies/tiny/profiles/quick/")
    found = verify_bundle(pack(tmp_path / "forged.tar.gz", files))
    assert not found.passed
    assert not found.checks["files"].mismatches
    assert any(place in one.where for one in found.checks[check].mismatches)


def test_of_a_report_alone_that_differs_the_way_out_is_named(study: Path, tmp_path: Path) -> None:
    files = read(study / "tiny.tar.gz")
    edited(f"{REPORT}/table.csv", rb"grpo_rule", b"grpo_rulf")(files)
    pack(tmp_path / "edited.tar.gz", files)
    out = capo_bench(tmp_path, "verify", "edited.tar.gz", expect=1)
    assert "only the report differs" in out
    assert "`capo-bench report tiny` writes it again" in out


def test_a_report_of_a_part_of_a_study_is_verified_with_the_same_part(study: Path, tmp_path: Path) -> None:
    capo_bench(tmp_path, "bundle", str(study / "tiny.tar.gz"), "--into", "there")
    part = ("--only", "grpo_rule")
    capo_bench(tmp_path, "report", "tiny", "--home", "there", *part)
    way_out = "if `run` or `report` was last given --only, give `verify` the same --only"
    assert way_out in " ".join(capo_bench(tmp_path, "verify", "tiny", "--home", "there", expect=1).split())
    weightless = capo_bench(tmp_path, "verify", "tiny", "--home", "there", *part, expect=3)
    assert "DIFFERS" not in weightless


def test_a_file_that_was_changed_alone_is_unlike_the_manifest(study: Path, tmp_path: Path) -> None:
    files = read(study / "tiny.tar.gz")
    name = named(files, "/provenance.json")
    files[name] = files[name][:-3]
    out = capo_bench(tmp_path, "verify", str(raw(tmp_path / "cut.tar.gz", files)), expect=1)
    assert f"DIFFERS, files: {name}: " in out
    refused = capo_bench(tmp_path, "bundle", "cut.tar.gz", "--into", "there", expect=2)
    assert "nothing was unpacked" in refused
    assert list((tmp_path / "there").iterdir()) == []


@pytest.mark.parametrize(
    "listed",
    ["[1]", '{"training": "../../../../outside"}', '{"../..": "0123456789ab"}', '{"training": {}}'],
    ids=["no list", "a key that leads out", "a place that leads out", "a key that is no text"],
)
def test_stages_that_are_no_list_of_keys_are_refused_by_name(study: Path, tmp_path: Path, listed: str) -> None:
    files = read(study / "tiny.tar.gz")
    files[name := named(files, "/stages.json")] = listed.encode()
    path = pack(tmp_path / "forged.tar.gz", files)
    refused = capo_bench(tmp_path, "bundle", str(path), "--into", "there", expect=2)
    assert f"{name.rpartition('/')[0]}: its stages.json is no list of keys" in refused
    assert list((tmp_path / "there").iterdir()) == []
    assert verify_bundle(path).checks["files"].mismatches


@pytest.mark.parametrize("way", ["../../../../secret", "{}/secret"], ids=["parents", "absolute"])
def test_a_list_of_checksums_reads_no_file_that_is_not_in_its_folder(study: Path, tmp_path: Path, way: str) -> None:
    (tmp_path / "secret").write_text("of another")
    value = hashlib.sha256(b"of another").hexdigest()
    files = read(study / "tiny.tar.gz")
    name = next(name for name in files if name.startswith("stages/") and name.endswith("/SHA256SUMS"))
    files[name] += f"{'0' * 64}  {way.format(tmp_path)}\n".encode()
    path = raw(tmp_path / "forged.tar.gz", files)
    refused = capo_bench(tmp_path, "bundle", str(path), "--into", "there", expect=2)
    assert "no list of checksums" in refused
    assert value not in refused
    assert list((tmp_path / "there").iterdir()) == []
    assert any("no list of checksums" in each.derived for each in verify_bundle(path).checks["files"].mismatches)


def test_an_archive_that_is_cut_short_is_no_bundle(study: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.tar.gz").write_bytes((study / "tiny.tar.gz").read_bytes()[:-1000])
    assert "cut short" in capo_bench(tmp_path, "verify", "cut.tar.gz", expect=2)
    (tmp_path / "text.tar.gz").write_text("hello", encoding="utf-8")
    assert "no bundle" in capo_bench(tmp_path, "verify", "text.tar.gz", expect=2)


def test_secrets_are_refused_or_blotted(study: Path) -> None:
    secret = "Does a bundle hold"
    refused = capo_bench(
        study, "bundle", "tiny.yaml", "--home", "home", "--out", "s.tar.gz", expect=2, MY_API_KEY=secret
    )
    assert "studies/tiny/profiles/quick/study.yaml:3: holds" in refused
    assert not (study / "s.tar.gz").exists()
    capo_bench(study, "bundle", "tiny.yaml", "--home", "home", "--out", "s.tar.gz", "--blot", MY_API_KEY=secret)
    assert secret.encode() not in b"".join(read(study / "s.tar.gz").values())


def test_a_study_that_runs_or_has_nothing_is_refused(study: Path, tmp_path: Path) -> None:
    with hold_lock(Home(study / "home").study("tiny").path / "lock"):
        assert "is being run by" in capo_bench(study, "bundle", "tiny.yaml", "--home", "home", expect=2)
    assert "nothing to bundle" in capo_bench(study, "bundle", "tiny.yaml", "--home", str(tmp_path), expect=2)
    assert "NOTHING VERIFIED" in capo_bench(study, "verify", "tiny.yaml", "--home", str(tmp_path), expect=1)
    assert list(tmp_path.iterdir()) == []


def test_a_flag_is_no_count_and_close_is_only_where_it_is_said() -> None:
    check = Check()
    assert not check.equal("a", True, 1)
    assert not check.equal("b", 0.3, 0.1 + 0.2)
    assert check.equal("c", 0.3, 0.1 + 0.2, close=True)
    assert check.equal("d", float("nan"), float("nan"))
    assert [one.where for one in check.mismatches] == ["a", "b"]
    assert check.compared == 4

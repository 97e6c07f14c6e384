"""`capo-bench view`, and the page beside the report."""

from __future__ import annotations

import gzip
import os
import time

import pytest
from click.testing import CliRunner
from viewing import SeenHome

from capo_bench.cli import main
from capo_bench.report.build import build_report
from capo_bench.report.write import write_files, write_report
from capo_bench.view import view as view_module


@pytest.fixture
def run(seen):
    def go(*arguments: object):
        return CliRunner().invoke(main, ["view", *map(str, arguments), "--home", str(seen.home.path)])

    return go


def test_a_study_shows_its_best_variant_with_critiques_and_before_and_after(run, seen):
    done = run(seen.file)
    path = seen.home.path / "views" / f"{seen.trial.id}.html"
    assert (done.exit_code, done.output) == (0, f"{path}\n")
    text = path.read_text(encoding="utf-8")
    assert "Who got the credit: majority, seed 0" in text
    assert "Wrong before, right after: 1 of 4 problems" in text
    assert "in the 10 optimizer steps looked at all 60" in text


def test_the_same_picks_give_the_same_bytes(run, seen, tmp_path):
    for name in "ab":
        assert run(seen.trial.id[:6], "--pick", "random", "--out", tmp_path / name).exit_code == 0
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_trial_and_a_rollout_by_name(run, seen, tmp_path):
    assert run(seen.trial.id, "--rollout", "3:2", "--out", tmp_path / "one.html").exit_code == 0
    text = (tmp_path / "one.html").read_text(encoding="utf-8")
    assert text.count("<article") == 1
    assert "Optimizer step 3 of 12, rollout 2: answer right" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rollout", "0:1"], "both from 1, as in 40:3"),
        (["--rollout", "1:1", "--step", "2"], "give it without --problem and --step"),
        (["--step", "13"], "no optimizer step 13 is stored; stored: 1 to 12"),
        (["--pick", "best"], "'best' is not one of"),
        (["--only", "seed=0"], "choose from a study"),
    ],
)
def test_what_cannot_be_shown_is_told(run, seen, arguments, message):
    done = run(seen.trial.id, *arguments)
    assert done.exit_code == 2
    assert message in " ".join(done.output.split())


def test_a_trial_whose_steps_nobody_judged_is_refused(run, seen):
    other = next(trial for trial in seen.plan().trials if trial.variant == "grpo_rule")
    done = run(other.id)
    why = "method grpo_rule asks no critic and no process reward model about steps"
    assert (done.exit_code, done.output) == (2, f"nothing to view in trial {other.id}: {why}\n")


def test_a_trial_whose_rollouts_are_gone_is_refused(tmp_path):
    home = SeenHome(tmp_path, steps=0)
    done = CliRunner().invoke(main, ["view", home.scored.id, "--home", str(home.home.path)])
    assert done.exit_code == 2
    assert "rollouts holds no rollouts; run the trial again to store them" in done.output


def test_an_unknown_trial(run):
    done = run("fffffff")
    assert done.exit_code == 2
    assert "no trial 'fffffff'" in done.output


def test_the_report_links_to_the_view_and_does_not_make_it_twice(tmp_path, monkeypatch):
    home = SeenHome(tmp_path, steps=2)
    for path in home.home.path.rglob("*"):
        os.utime(path, (time.time() - 60,) * 2)
    paths = write_report(home.plan(), home.home)
    assert paths.credit == paths.page.parent / "credit.html"
    assert '<a href="credit.html">' in paths.page.read_text(encoding="utf-8")
    before = paths.credit.read_bytes()

    monkeypatch.setattr(view_module, "view", lambda chosen: pytest.fail("made anew"))
    write_report(home.plan(), home.home)
    assert paths.credit.read_bytes() == before


def test_without_rollouts_there_is_no_link_and_an_older_page_goes(tmp_path):
    home = SeenHome(tmp_path, steps=0)
    folder = tmp_path / "report"
    folder.mkdir()
    (folder / "credit.html").write_text("old", encoding="utf-8")
    paths = write_files(build_report(home.plan(), home.home), folder)
    assert paths.credit is None
    assert not (folder / "credit.html").exists()
    assert "credit.html" not in paths.page.read_text(encoding="utf-8")


def test_a_damaged_step_is_named_and_the_rest_shown(tmp_path):
    home = SeenHome(tmp_path, steps=3)
    folder = home.home.trial(home.trial.id)
    (folder.rollouts / "00002.0.jsonl.gz").write_bytes(gzip.compress(b"{"))
    out = tmp_path / "page.html"
    done = CliRunner().invoke(main, ["view", home.trial.id, "--home", str(home.home.path), "--out", str(out)])
    assert done.exit_code == 0
    text = out.read_text(encoding="utf-8")
    assert "00002.0.jsonl.gz: cannot be read" in text
    assert "Optimizer step 1 of 3" in text


def test_what_training_recorded_otherwise_is_said(tmp_path):
    home = SeenHome(tmp_path, steps=2)
    steps = home.home.trial(home.trial.id).steps
    steps.write_text(
        steps.read_text(encoding="utf-8").replace('"uncritiqued": 1.0', '"uncritiqued": 5.0'), encoding="utf-8"
    )
    out = tmp_path / "page.html"
    CliRunner().invoke(main, ["view", home.trial.id, "--home", str(home.home.path), "--out", str(out)])
    assert "uncritiqued was 5 and is 1" in out.read_text(encoding="utf-8")

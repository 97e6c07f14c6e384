"""`capo-bench view`: which rollouts the page has, and what it opens on."""

from __future__ import annotations

import gzip
import json
import re
from base64 import b64decode
from dataclasses import replace

import pytest
from click.testing import CliRunner
from viewing import SeenHome

from capo_bench.analysis.rollouts import find_most_telling, read_credited, select_steps
from capo_bench.cli import main
from capo_bench.pages.rollouts import write_rollouts
from capo_bench.store.home import TrialFolder
from trainers.rollouts import list_stored_steps, read_step, write_step


def run(home: SeenHome, *arguments: object):
    return CliRunner().invoke(main, ["view", *map(str, arguments), "--home", str(home.home.path)])


def index_of(page) -> dict:
    return json.loads(re.search(r'id="index">(.*?)</script>', page.read_text(encoding="utf-8"), re.S)[1])


def packed(page, number: int) -> list[dict]:
    part = re.search(rf'id="part{number}">(.*?)</script>', page.read_text(encoding="utf-8"))[1]
    return json.loads(gzip.decompress(b64decode(part)))


def test_a_studys_page_has_all_rollouts_of_all_trials_that_kept_any(seen):
    done = run(seen, seen.file)
    path = seen.home.study("seen").profile("quick").report / "rollouts.html"
    assert (done.exit_code, done.output) == (0, f"{path}\n")
    index = index_of(path)
    assert [trial[0] for trial in index["trials"]] == ["majority", "prm_sum"]
    assert len(index["parts"]) == 24
    assert len(index["index"]) == 4 * 24 * 8
    assert "192 rollouts of 2 trials" in path.read_text(encoding="utf-8")


def test_the_index_tells_outcome_flags_and_split(seen, tmp_path):
    out = tmp_path / "one.html"
    assert run(seen, seen.trial.id[:6], "--out", out).exit_code == 0
    index = index_of(out)
    rows = [index["index"][start : start + 4] for start in range(0, 32, 4)]
    assert [outcome for _, outcome, _, _ in rows] == [1, 1, 0, -1, 0, 0, 0, 0]
    assert [flagged for _, _, flagged, _ in rows] == [0, 2, 1, 0, 1, 1, 1, 0]
    # Three of four flag step 1 of the second: half as split as two against two.
    assert [split for *_, split in rows][:3] == [0, 50, 0]
    assert index["problems"] == ["coins/train/0/0", "coins/train/0/1"]


def test_credit_and_critiques_are_those_of_the_trial(seen, tmp_path):
    out = tmp_path / "one.html"
    run(seen, seen.trial.id, "--out", out)
    first = next(read_credited(seen.trial, seen.home.trial(seen.trial.id)))
    for one, row in zip(first.rollouts, packed(out, 0), strict=True):
        assert [step[3] for step in row["steps"]] == [f"{v}/{one.voters}" if one.voters else "–" for v in one.votes]
        assert [critique[0] for critique in row["critiques"]] == [
            None if said.wrong is None else [step + 1 for step in sorted(said.wrong)] for said in one.critiques
        ]


def test_it_opens_on_the_problem_met_furthest_apart_that_critiques_disagree_on_most(seen, tmp_path):
    out = tmp_path / "study.html"
    run(seen, seen.file, "--out", out)
    steps = list(read_credited(seen.trial, seen.home.trial(seen.trial.id)))
    pairs = [
        [find_most_telling([one for one in steps[part].rollouts if one.rollout.problem == problem]) for part in (0, 11)]
        for problem in ("coins/train/0/0", "coins/train/0/1")
    ]
    before, after = max(pairs, key=lambda pair: sum(one.split for one in pair))
    assert index_of(out)["opening"] == [[0, before.place - 1], [11, after.place - 1]]
    assert index_of(out)["same"] is True


def test_where_no_problem_comes_twice_it_opens_on_the_most_split_rollouts_of_the_first_and_the_last_step(
    seen, tmp_path
):
    kept, folder = list_stored_steps(seen.home.trial(seen.trial.id).rollouts), TrialFolder(tmp_path / "trial")
    for step, files in kept.items():
        renamed = [replace(one, problem=f"{one.problem}/{step}") for one in read_step(step, files).rollouts]
        write_step(folder.rollouts, step, 0, renamed)
    out = write_rollouts("renamed", [(seen.trial, folder)], tmp_path / "renamed.html")
    steps = list(read_credited(seen.trial, folder))
    wanted = [[part, find_most_telling(steps[part].rollouts).place - 1] for part in (0, 11)]
    assert index_of(out)["opening"] == wanted
    assert index_of(out)["same"] is False
    # Of two against two nothing is here; one of three against two and one of two are as split: missed by most is first.
    assert find_most_telling(steps[0].rollouts).split == max(one.split for one in steps[0].rollouts)


def test_nothing_is_telling_without_two_verdicts(seen):
    assert find_most_telling([]) is None


def test_of_more_rollouts_every_nth_step_and_the_last_is_taken(seen, tmp_path):
    trials = [(seen.trial, seen.home.trial(seen.trial.id))]
    assert select_steps(trials, 96) == {seen.trial.id: list(range(1, 13))}
    assert select_steps(trials, 24) == {seen.trial.id: [1, 5, 9, 12]}
    out = tmp_path / "few.html"
    run(seen, seen.trial.id, "--most", 24, "--out", out)
    assert "4 of 12 stored optimizer steps are on this page." in out.read_text(encoding="utf-8")


def test_the_same_rollouts_give_the_same_bytes(seen, tmp_path):
    for name in "ab":
        assert run(seen, seen.trial.id[:6], "--out", tmp_path / name).exit_code == 0
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_settings_of_a_study_are_not_of_a_trial(seen):
    done = run(seen, seen.trial.id, "--only", "seed=0")
    assert done.exit_code == 2
    assert "choose from a study" in " ".join(done.output.split())


def test_without_rollouts_there_is_no_page(tmp_path):
    done = run(SeenHome(tmp_path, steps=0), tmp_path / "seen.yaml")
    assert done.exit_code == 2
    assert "no rollouts to view of seen: no finished trial has kept any" in done.output


def test_an_unknown_trial(seen):
    done = run(seen, "fffffff")
    assert done.exit_code == 2
    assert "no trial 'fffffff'" in done.output


@pytest.mark.parametrize("content", [b"torn", gzip.compress(b"{")])
def test_a_damaged_step_is_named_and_the_rest_shown(tmp_path, content):
    home = SeenHome(tmp_path, steps=3)
    (home.home.trial(home.trial.id).rollouts / "00002.0.jsonl.gz").write_bytes(content)
    out = tmp_path / "page.html"
    assert run(home, home.trial.id, "--out", out).exit_code == 0
    assert "00002.0.jsonl.gz: cannot be read" in out.read_text(encoding="utf-8")
    assert [step for _, step, _ in index_of(out)["parts"]] == [1, 3]


def test_where_no_step_can_be_read_there_is_no_page_and_the_first_is_named(tmp_path):
    home = SeenHome(tmp_path, steps=2)
    for step in ("00001", "00002"):
        (home.home.trial(home.trial.id).rollouts / f"{step}.0.jsonl.gz").write_bytes(b"torn")
    out = tmp_path / "page.html"
    done = run(home, home.trial.id, "--out", out)
    assert done.exit_code == 2
    said = " ".join(done.output.split())
    assert "none of the 2 stored steps of" in said
    assert "00001.0.jsonl.gz: cannot be read" in said
    assert not out.exists()

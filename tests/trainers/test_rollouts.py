"""Stored rollouts: what goes in comes out, whatever was written; a file is whole or is said to be damaged."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capo_bench.store.home import TrialFolder
from evals.models.base import Usage
from trainers.credit.critique import Critique
from trainers.prm.scored import ScoredSolution
from trainers.rollouts import (
    DamagedRolloutsError,
    Rollout,
    drop_after,
    list_stored_steps,
    read_rollouts,
    read_step,
    write_step,
)

CRITIQUES = (
    Critique(frozenset({1}), text="Step 2 is wrong.\n[2]", usage=Usage(120, 100, 9, 0.25, 0.001)),
    Critique(None, "truncated", text="Step 1 \ud800 is …"),
    Critique(frozenset()),
)
ROLLOUT = Rollout(
    0, "coins/train/7", "Ann has 3 …", "7", ("3", "3 + 4 = 8"), (2, 5), 0.0, frozenset({1}), "steps", CRITIQUES
)


def test_what_is_written_is_read_again(tmp_path):
    others = (Rollout(1, "p", "q", "a", ("",), (1,), None, None, "answer"),)

    write_step(tmp_path / "rollouts", 3, 0, [ROLLOUT])
    write_step(tmp_path / "rollouts", 3, 1, others)

    (step,) = read_rollouts(tmp_path / "rollouts")
    assert step.step == 3
    assert step.parts == ((ROLLOUT,), others)
    assert step.rollouts == (ROLLOUT, *others)


texts = st.text(max_size=20)
critiques = st.one_of(
    st.builds(
        Critique,
        st.frozensets(st.integers(0, 9)),
        st.none(),
        texts,
        st.builds(Usage, st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.floats(0, 9), st.floats(0, 9)),
    ),
    st.builds(Critique, st.none(), st.sampled_from(["empty", "truncated", "no_list", "refusal", "error"]), texts),
)


@st.composite
def rollouts(draw):
    steps = draw(st.lists(texts, min_size=1, max_size=4))
    scores = st.tuples(*[st.floats(0, 1) for _ in steps])
    return Rollout(
        draw(st.integers(0, 99)),
        *(draw(texts) for _ in range(3)),
        tuple(steps),
        tuple(draw(st.integers(0, 50)) for _ in steps),
        draw(st.sampled_from([0.0, 1.0, None])),
        draw(st.none() | st.frozensets(st.integers(0, 9))),
        draw(st.sampled_from(["steps", "answer"])),
        tuple(draw(st.lists(critiques, max_size=3))),
        scored=draw(
            st.one_of(st.none(), st.builds(ScoredSolution, scores), st.just(ScoredSolution(None, "too_long", 7)))
        ),
    )


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(rollouts(), max_size=3))
def test_any_text_survives(tmp_path, batch):
    write_step(tmp_path, 1, 0, batch)

    assert next(read_rollouts(tmp_path)).rollouts == tuple(batch)


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        (("3 + 4 = 7", "\\boxed{7}"), "3 + 4 = 7\n\n\\boxed{7}"),
        (("3 + 4 ", "= 7", "\\boxed{ ", "7 }"), "3 + 4 = 7\n\n\\boxed{ 7 }"),  # lines that go on
        (("",), ""),
    ],
)
def test_the_text_is_told_by_its_steps(steps, text):
    assert replace(ROLLOUT, steps=steps, tokens=(1,) * len(steps)).text == text


def test_whether_a_critique_was_reused_is_kept(tmp_path):
    row = replace(ROLLOUT, critiques=tuple(replace(one, reused=place == 1) for place, one in enumerate(CRITIQUES)))
    write_step(tmp_path, 1, 0, [row])

    (stored,) = next(read_rollouts(tmp_path)).rollouts
    assert [critique.reused for critique in stored.critiques] == [False, True, False]


def test_same_rollouts_same_bytes(tmp_path):
    write_step(tmp_path / "a", 1, 0, [ROLLOUT])
    time.sleep(1.1)  # a gzip header tells whole seconds
    write_step(tmp_path / "b", 1, 0, [ROLLOUT])

    assert (tmp_path / "a/00001.0.jsonl.gz").read_bytes() == (tmp_path / "b/00001.0.jsonl.gz").read_bytes()


def test_a_line_can_be_read_by_any_tool(tmp_path):
    write_step(tmp_path, 12, 0, [ROLLOUT])

    row = json.loads(gzip.decompress((tmp_path / "00012.0.jsonl.gz").read_bytes()))
    assert (row["step"], row["group"], row["truth"]) == (12, 0, [1])
    assert [critique.get("wrong", critique.get("abstained")) for critique in row["critiques"]] == [[1], "truncated", []]


def test_steps_come_in_order_of_their_number_beyond_what_the_name_is_padded_to(tmp_path):
    for step in (100000, 2, 99999, 10):
        write_step(tmp_path, step, 0, [ROLLOUT])

    assert [step.step for step in read_rollouts(tmp_path)] == [2, 10, 99999, 100000]


def test_processes_come_in_order_of_their_number(tmp_path):
    for process in (10, 2, 0):
        write_step(tmp_path, 1, process, [])

    assert [path.name for path in list_stored_steps(tmp_path)[1]] == [f"00001.{n}.jsonl.gz" for n in (0, 2, 10)]


def test_a_folder_that_is_not_there_holds_no_steps(tmp_path):
    assert list(read_rollouts(tmp_path / "nowhere")) == []
    drop_after(tmp_path / "nowhere", 0)


def test_one_file_of_a_trial_without_steps_is_a_step(tmp_path):
    write_step(tmp_path, 1, 0, [])

    assert [step.rollouts for step in read_rollouts(tmp_path)] == [()]


def test_a_last_step_that_lacks_a_process_is_left_out(tmp_path):
    for step, process in ((1, 0), (1, 1), (2, 0)):
        write_step(tmp_path, step, process, [ROLLOUT])

    assert list(list_stored_steps(tmp_path)) == [1]


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[:-9],
        lambda raw: b"",
        lambda raw: b"rubbish",
        lambda raw: raw[:20] + bytes([raw[20] ^ 255]) + raw[21:],
        lambda raw: gzip.compress(b"{"),
        lambda raw: gzip.compress(b"[1]\n"),
        lambda raw: gzip.compress(b'{"group": 0}\n'),
        lambda raw: gzip.compress("{\u00e9}".encode()),
    ],
)
def test_a_damaged_file_is_named(tmp_path, damage):
    write_step(tmp_path, 1, 0, [ROLLOUT])
    path = tmp_path / "00001.0.jsonl.gz"
    raw = path.read_bytes()
    path.write_bytes(damage(raw))

    with pytest.raises(DamagedRolloutsError, match=r"00001\.0\.jsonl\.gz"):
        read_step(1, [path])


def test_dropping_later_steps_leaves_earlier_ones_and_takes_torn_files_along(tmp_path):
    for step in (1, 2, 3):
        write_step(tmp_path, step, 0, [ROLLOUT])
    (tmp_path / ".00002.0.jsonl.gz.abcd").write_bytes(b"torn")
    (tmp_path / "notes.txt").write_text("kept")

    drop_after(tmp_path, 2)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["00001.0.jsonl.gz", "00002.0.jsonl.gz", "notes.txt"]


WRITER = """
import sys
from pathlib import Path
from trainers.critics.base import Critique
from trainers.rollouts import Rollout, write_step
text = "".join(chr(32 + (i * i) % 90) for i in range(20000))
row = Rollout(0, "p", text, "1", ("1",), (1,), 1.0, None, "steps", (Critique(frozenset(), text=text),))
for step in range(1, 100000):
    write_step(Path(sys.argv[1]), step, 0, [row] * 8)
    print(step, flush=True)
"""


def test_a_writer_killed_at_any_moment_leaves_whole_files(tmp_path):
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        for _ in range(5):
            writer.stdout.readline()
        os.kill(writer.pid, signal.SIGKILL)
    steps = list(read_rollouts(tmp_path))

    assert len(steps) >= 5
    assert [step.step for step in steps] == list(range(1, len(steps) + 1))
    drop_after(tmp_path, 3)
    assert [path.name for path in sorted(tmp_path.iterdir())] == [f"0000{n}.0.jsonl.gz" for n in (1, 2, 3)]


def test_a_count_of_tokens_for_every_step():
    with pytest.raises(ValueError, match="2 steps with 1 counts"):
        Rollout(0, "p", "q", "a", ("x", "y"), (3,), 1.0, None)


def test_the_text_of_every_token_or_of_none(tmp_path):
    row = replace(ROLLOUT, pieces=("3", "\n\n", "3", " +", " 4 = ", "8", ""))
    write_step(tmp_path, 1, 0, [row, ROLLOUT])
    assert next(read_rollouts(tmp_path)).rollouts == (row, ROLLOUT)
    with pytest.raises(ValueError, match="2 pieces of text for 7 tokens"):
        replace(ROLLOUT, pieces=("3", "8"))


def test_what_a_process_reward_model_said_can_be_read_by_any_tool(tmp_path):
    write_step(tmp_path, 1, 0, [replace(ROLLOUT, scored=ScoredSolution((0.1, 2 / 3), tokens=30)), ROLLOUT])

    scored, plain = map(json.loads, gzip.decompress((tmp_path / "00001.0.jsonl.gz").read_bytes()).splitlines())
    assert scored["scored"] == {"scores": [0.1, 2 / 3], "unscored": None, "tokens": 30}
    assert "scored" not in plain


@pytest.mark.parametrize(
    ("scored", "message"),
    [
        ({"scores": [0.5], "unscored": None, "tokens": 1}, "1 scores for 2 steps"),
        ({"scores": [0.5, float("nan")], "unscored": None, "tokens": 1}, "no probabilities"),
        ({"scores": [0.5, 1.5], "unscored": None, "tokens": 1}, "no probabilities"),
        ({"scores": None, "unscored": None, "tokens": 1}, "never both or neither"),
        ({"scores": [0.5, 0.5], "unscored": "error", "tokens": 1}, "never both or neither"),
        ({"scores": ["a", "b"], "unscored": None, "tokens": 1}, "cannot be read"),
    ],
)
def test_scores_that_are_none_are_damage(tmp_path, scored, message):
    write_step(tmp_path, 1, 0, [ROLLOUT])
    path = tmp_path / "00001.0.jsonl.gz"
    row = json.loads(gzip.decompress(path.read_bytes()))
    path.write_bytes(gzip.compress(json.dumps({**row, "scored": scored}).encode("ascii")))

    with pytest.raises(DamagedRolloutsError, match=message):
        read_step(1, [path])


def test_where_a_trial_keeps_them():
    assert TrialFolder(Path("t")).rollouts == Path("t/training/rollouts")

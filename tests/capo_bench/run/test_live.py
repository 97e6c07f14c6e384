import json

import pytest

from capo_bench.run.board import EVERY_SECONDS, Board, LiveState, read_live

STARTED = {"event": "trial_started", "trial": "a", "variant": "vote=union", "seed": 3, "log": "a.log"}


class Clock:
    now = 50.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_the_file_is_replaced_once_a_second_and_gone_at_the_end(tmp_path, clock):
    path, board = tmp_path / "now.json", Board({"a": "v"}, clock=clock)
    assert read_live(path) == {}
    with LiveState(path, board, clock) as now:
        board.on(STARTED)
        now.on(STARTED)
        assert read_live(path)["trials"]["a"]["stage"] == "starting"

        board.running["a"].on_stage("generate", "coins_test")
        clock.now += EVERY_SECONDS / 2
        now.on({"event": "tick"})
        assert read_live(path)["trials"]["a"]["stage"] == "starting"

        clock.now += EVERY_SECONDS / 2
        now.on({"event": "tick"})
        trial = read_live(path)["trials"]["a"]
        assert (trial["stage"], trial["task"], trial["seconds"]) == ("generate", "coins_test", 1.0)
        assert [file.name for file in tmp_path.iterdir()] == ["now.json"]
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_crashed_leaves_what_it_was_at(tmp_path, clock):
    path, board = tmp_path / "now.json", Board({"a": "v"}, clock=clock)
    board.on(STARTED)
    LiveState(path, board, clock).on(STARTED)
    assert list(read_live(path)["trials"]) == ["a"]


@pytest.mark.parametrize("content", [b"", b'{"trials": {', b"[1]", b"\xff"])
def test_a_file_that_tells_nothing_is_as_good_as_none(tmp_path, content):
    (tmp_path / "now.json").write_bytes(content)
    assert read_live(tmp_path / "now.json") == {}


def test_a_place_that_cannot_be_written_does_not_end_the_run(tmp_path, clock):
    (tmp_path / "file").write_text("no folder")
    with LiveState(tmp_path / "file" / "now.json", Board({"a": "v"}, clock=clock), clock) as now:
        now.on({"event": "tick"})


def test_what_it_says_is_plain_json_whatever_a_step_says(tmp_path, clock):
    board = Board({"a": "v"}, clock=clock)
    board.on(STARTED)
    board.on({"event": "step", "trial": "a", "step": 1, "of": 2, "metrics": {"outcome": float("nan")}})
    json.dumps(board.as_json(), allow_nan=False)
    assert board.as_json()["trials"]["a"]["outcome"] is None

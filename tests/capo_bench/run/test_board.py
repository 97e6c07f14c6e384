import pytest

from capo_bench.run.board import Board, duration


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def started(trial, variant="vote=union", seed=0):
    return {"event": "trial_started", "trial": trial, "variant": variant, "seed": seed, "log": "log"}


def step(trial, at, of, **metrics):
    return {"event": "step", "trial": trial, "step": at, "of": of, "metrics": metrics}


def test_there_is_no_estimate_before_anything_has_moved(clock):
    board = Board(owed=4, clock=clock)
    assert board.seconds_left() is None
    board.on(started("a"))
    assert board.seconds_left() is None
    assert board.headline() == "0/4 trials done"


def test_the_estimate_goes_by_steps_of_running_trials_and_whole_trials(clock):
    """One trial done and one half done in 30 s: 20 s a trial; two and a half are left."""
    board = Board(owed=4, had=2, clock=clock)
    board.on(started("a"))
    board.on(started("b"))
    board.on(step("a", 1, 2))
    board.on({"event": "trial_done", "trial": "a"})
    for at in range(1, 6):
        board.on(step("b", at, 10))
    clock.now += 30
    assert board.seconds_left() == pytest.approx(50)
    assert board.headline() == "3/6 trials done · about 50 s left"


def test_steps_that_a_resumed_trial_had_already_do_not_make_the_estimate_rosy(clock):
    """It went from 80 to 81 of 100 in 3 s: 19 steps are left, 57 s."""
    board = Board(owed=1, clock=clock)
    board.on(started("a"))
    board.on(step("a", 81, 100))
    clock.now += 3
    assert board.seconds_left() == pytest.approx(57)


def test_the_board_follows_a_trial(clock):
    board = Board(owed=2, clock=clock)
    board.on({"event": "preparing", "model": "cold start", "step": 30, "of": 500})
    assert board.headline() == "0/2 trials done · cold start, step 30/500"
    board.on(started("a"))
    board.on({"event": "stage", "trial": "a", "stage": "train"})
    board.on(step("a", 3, 50, outcome=0.5))
    board.on(step("a", 4, 50))
    trial = board.running["a"]
    assert (trial.stage, trial.step, trial.of, trial.outcome) == ("train", 4, 50, 0.5)
    board.on({"event": "trial_failed", "trial": "a"})
    assert (board.running, board.headline()) == ({}, "0/2 trials done · 1 failed")


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "0 s"), (89, "89 s"), (90, "2 min"), (3540, "59 min"), (7500, "2 h 05 min")]
)
def test_durations_in_words(seconds, words):
    assert duration(seconds) == words

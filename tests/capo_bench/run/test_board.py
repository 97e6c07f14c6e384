import itertools

import pytest

from capo_bench.inert import for_terminal
from capo_bench.run.board import Board, Countdown, format_duration, list_lengths
from capo_bench.store.ledger import fold


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def waiting(count):
    return dict.fromkeys("abcd"[:count], "vote=union")


def started(trial, variant="vote=union", seed=0):
    return {"event": "trial_started", "trial": trial, "variant": variant, "seed": seed, "log": "log"}


def step(trial, at, of, **metrics):
    return {"event": "step", "trial": trial, "step": at, "of": of, "metrics": metrics}


def test_there_is_no_estimate_before_anything_has_moved(clock):
    board = Board(waiting(4), clock=clock)
    assert board.seconds_left() is None
    board.on(started("a"))
    assert board.seconds_left() is None
    assert board.headline() == "0/4 trials done"


def test_the_estimate_goes_by_steps_of_running_trials_and_whole_trials(clock):
    """One trial done and one half done in 30 s: 20 s a trial; two and a half are left."""
    board = Board(waiting(4), had=2, clock=clock)
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
    board = Board(waiting(1), clock=clock)
    board.on(started("a"))
    board.on(step("a", 81, 100))
    clock.now += 3
    assert board.seconds_left() == pytest.approx(57)


def test_the_board_follows_a_trial(clock):
    board = Board(waiting(2), clock=clock)
    board.on({"event": "preparing", "model": "cold start", "step": 30, "of": 500})
    assert board.headline() == "0/2 trials done · cold start, step 30/500"
    board.on({"event": "prepared", "model": "cold start"})
    board.on(started("a"))
    board.on({"event": "stage", "trial": "a", "stage": "train"})
    board.on(step("a", 3, 50, outcome=0.5))
    board.on(step("a", 4, 50))
    trial = board.running["a"]
    assert (trial.stage, trial.step, trial.of, trial.outcome) == ("train", 4, 50, 0.5)
    board.on({"event": "trial_failed", "trial": "a"})
    assert (board.running, board.headline()) == ({}, "0/2 trials done · 1 failed")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "0 s"), (89, "89 s"), (90, "2 min"), (3540, "59 min"), (7500, "2 h 05 min"), (4e5, "5 days")],
)
def test_durations_in_words(seconds, words):
    assert format_duration(seconds) == words


def test_the_estimate_goes_by_what_trials_of_the_variant_took_before(clock):
    """Two at a time. Long ones take 100 s, short ones 10: 50 + 10 s of those that run, 100 + 10 + 100 s of the rest."""
    board = Board(
        clock=clock, to_do={"a": "long", "b": "short", "c": "long", "d": "short", "e": "long"},
        lengths={"long": [90.0, 110.0], "short": [10.0]},
    )  # fmt: skip
    assert board.seconds_left() is None
    board.on(started("a", "long"))
    board.on(started("b", "short"))
    for at in range(1, 6):
        board.on(step("a", at, 10))
    assert board.seconds_left() == pytest.approx((50 + 10 + 100 + 10 + 100) / 2)


def test_the_estimate_is_never_less_than_the_longest_trial_takes(clock):
    board = Board(clock=clock, to_do={"a": "long", "b": "short"}, lengths={"long": [100.0], "short": [2.0]})
    board.on(started("a", "long"))
    board.on(started("b", "short"))
    assert board.seconds_left() == pytest.approx(100)


def test_a_variant_that_none_has_finished_of_takes_what_the_others_take(clock):
    board = Board(clock=clock, to_do={"a": "new", "b": "new"}, lengths={"x": [10.0], "y": [30.0]})
    board.on(started("a", "new"))
    assert board.seconds_left() == pytest.approx(40)


def test_before_a_trial_has_ended_guesses_stand_for_it_and_then_are_scaled_by_it(clock):
    """Two jobs at a time; guesses of 10 and 30 s: 10 s of a cold start and 80 s of four trials, shared by two.

    The first trial, guessed at 10 s, takes 20: the others are taken to need 20, 60 and 60.
    """
    board = Board(
        clock=clock, to_do={"a": "short", "b": "long", "c": "short", "d": "long"},
        guesses={"short": 10.0, "long": 30.0},
    )  # fmt: skip
    board.on({"event": "workers", "count": 2})
    board.on({"event": "preparing", "model": "cold start", "step": 0, "of": 100})
    clock.now += 10
    board.on({"event": "preparing", "model": "cold start", "step": 50, "of": 100})
    assert board.seconds_left() == pytest.approx((10 + 80) / 2)
    board.on({"event": "prepared", "model": "cold start"})
    board.on(started("a", "short"))
    assert board.seconds_left() == pytest.approx(80 / 2)
    clock.now += 20
    board.on({"event": "trial_done", "trial": "a", "seconds": 20.0})
    assert board.seconds_left() == pytest.approx((20 + 60 + 60) / 2)


def test_after_its_last_step_a_trial_has_left_what_is_left_of_its_usual_time(clock):
    board = Board(clock=clock, to_do={"a": "v"}, lengths={"v": [60.0]})
    board.on(started("a", "v"))
    for at in range(1, 11):
        board.on(step("a", at, 10))
    clock.now += 50
    assert board.seconds_left() == pytest.approx(10)
    clock.now += 50
    assert board.seconds_left() == 0


def test_a_trial_that_is_done_counts_for_the_estimate_unless_it_was_resumed_or_tried_again(clock):
    board = Board(clock=clock, to_do={"a": "v", "b": "v", "c": "v"})
    for trial, first in (("a", 1), ("b", 6)):
        board.on(started(trial, "v"))
        board.on(step(trial, first, 10))
        board.on({"event": "trial_done", "trial": trial, "seconds": 40.0})
    board.on(started("c", "v"))
    board.on({"event": "trial_retried", "trial": "c", "error": "x"})
    board.on(started("c", "v"))
    board.on({"event": "trial_done", "trial": "c", "seconds": 7.0})
    assert board.lengths == {"v": [40.0]}


def test_a_trial_that_is_tried_again_stays_on_the_board_and_its_steps_count_once(clock):
    """6 of 10 steps, lost; the next try begins at 4 of 10: half an hour for 5 of 10 steps leaves half an hour."""
    board = Board(waiting(1), clock=clock)
    board.on(started("a"))
    for at in range(1, 7):
        board.on(step("a", at, 10))
    board.on({"event": "trial_retried", "trial": "a", "attempt": 1, "error": "lost", "cause": "lost", "delay": 0})
    trial = board.running["a"]
    assert (trial.stage, board.retried, board.failed) == ("waiting for its retry", 1, 0)
    assert board.headline().startswith("0/1 trials done · 1 retried")
    board.on(started("a"))
    assert (board.running["a"].attempt, board.running["a"].stage) == (2, "starting")
    board.on(step("a", 5, 10))
    clock.now += 1800
    assert board.seconds_left() == pytest.approx(1800)
    board.on(step("a", 1, 10))  # a try that begins anew
    assert board.seconds_left() == pytest.approx(9 * 1800)


def test_a_trial_with_a_budget_is_as_far_as_what_it_has_spent(clock):
    board = Board(waiting(1), clock=clock)
    board.on(started("a"))
    clock.now += 10
    board.on(step("a", 1, 2000, budget_share=0.05))
    assert board.seconds_left() == pytest.approx(190)
    clock.now += 90
    board.on(step("a", 10, 2000, budget_share=0.5))
    assert board.seconds_left() == pytest.approx(100)


def test_a_resumed_trial_with_a_budget_does_not_gain_what_it_had(clock):
    board = Board(waiting(1), clock=clock)
    board.on(started("a"))
    clock.now += 10
    board.on(step("a", 10, 2000, budget_share=0.5))  # nine steps were done before
    assert board.running["a"].gained == pytest.approx(0.05)
    assert board.seconds_left() == pytest.approx(100)


def test_while_no_trial_runs_the_estimate_is_that_of_the_models_that_they_wait_for(clock):
    board = Board(waiting(2), clock=clock)
    board.on({"event": "preparing", "model": "cold start", "step": 10, "of": 100})
    clock.now += 5
    board.on({"event": "preparing", "model": "cold start", "step": 20, "of": 100})
    assert board.headline() == "0/2 trials done · cold start, step 20/100 · about 40 s left"
    board.on({"event": "preparing", "model": "embedded critic", "step": 1, "of": 500})
    told = "0/2 trials done · cold start, step 20/100 · embedded critic, step 1/500 · about 40 s left"
    assert board.headline() == told
    board.on({"event": "prepared", "model": "cold start"})
    assert board.headline() == "0/2 trials done · embedded critic, step 1/500"
    assert board.as_json()["preparing"] == [{"model": "embedded critic", "step": 1, "of": 500, "seconds_left": None}]


def test_trials_that_run_beside_a_model_in_the_making_end_no_sooner_than_it(clock):
    board = Board(clock=clock, to_do={"a": "v", "b": "v"}, lengths={"v": [10.0]})
    board.on({"event": "preparing", "model": "embedded critic", "step": 10, "of": 100})
    board.on(started("a", "v"))
    assert board.seconds_left() == pytest.approx(10)  # two lanes: the other one makes the critic
    clock.now += 5
    board.on({"event": "preparing", "model": "embedded critic", "step": 20, "of": 100})
    assert board.seconds_left() == pytest.approx(40)


def test_trials_that_fail_before_they_start_are_not_waited_for(clock):
    board = Board(clock=clock, to_do={"a": "v", "b": "v"}, lengths={"v": [10.0]})
    board.on({"event": "trial_failed", "trial": "b", "variant": "v", "seed": 0, "error": "cold start failed"})
    board.on(started("a", "v"))
    assert board.seconds_left() == pytest.approx(10)


def test_who_looks_from_outside_is_told_of_tokens_stages_and_steps(clock):
    board = Board(waiting(1), clock=clock)
    board.on(started("a", seed=4))
    board.on({"event": "stage", "trial": "a", "stage": "generate", "task": "coins_test"})
    board.on(step("a", 2, 8, outcome=0.5, policy_tokens=100, critic_tokens=30))
    clock.now += 2
    told = board.as_json()
    assert (told["seconds"], told["policy_tokens"], told["critic_tokens"], told["preparing"]) == (2.0, 100, 30, [])
    assert told["trials"] == {
        "a": {
            "variant": "vote=union", "seed": 4, "attempt": 1, "stage": "generate", "task": "coins_test", "step": 2,
            "of": 8, "outcome": 0.5, "seconds": 2.0,
        }
    }  # fmt: skip


def test_lengths_are_those_of_trials_that_this_study_has_finished():
    ended = [
        {"event": "trial_stopped", "trial": "a", "variant": "v", "seed": 0, "seconds": 4.0},
        {"event": "trial_done", "trial": "a", "variant": "v", "seed": 0, "seconds": 6.0},
        {"event": "trial_done", "trial": "b", "variant": "w", "seed": 0, "seconds": 3.0},
        {"event": "trial_failed", "trial": "c", "variant": "w", "seed": 1, "seconds": 1.0},
    ]
    assert list_lengths(fold(ended)) == {"v": [10.0], "w": [3.0]}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 漢", "plain é 漢"),
        ("\x1b[2Jgone", r"\x1b[2Jgone"),
        ("a\nb\rc", r"a\nb\rc"),
        ("\u202eright to left", r"\u202eright to left"),
        ("\ud800", r"\ud800"),
        ("\u2028", r"\u2028"),
    ],
)
def test_text_that_is_shown_cannot_steer_a_terminal(text, shown):
    assert for_terminal(text) == shown


def test_the_time_that_is_shown_does_not_jump():
    countdown = Countdown()
    assert countdown.show(600.0, 0.0) == 600.0
    assert countdown.show(590.0, 10.0) == pytest.approx(590.0)  # it runs down by the clock
    shown = [countdown.show(300.0 - second, 10.0 + second) for second in (1.0, 2.0, 3.0)]
    assert all(earlier - later < 15 for earlier, later in itertools.pairwise([590.0, *shown]))
    assert countdown.show(150.0, 200.0) == pytest.approx(150.0, rel=0.02)  # and has got there in three minutes
    assert countdown.show(None, 201.0) is None

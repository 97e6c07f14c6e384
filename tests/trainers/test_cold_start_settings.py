"""What a study may say of the cold start's pupils, and what is refused because nothing could be learnt."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from trainers.config import ColdStartConfig

EVERYTHING = [{"sign": sign, "error": 1} for sign in "+-*"]


def test_pupils_hold_the_shipped_misconceptions_unless_a_study_says_otherwise():
    settings = ColdStartConfig()
    assert (len(settings.misconceptions), settings.belief, settings.slip) == (3, 0.8, 0.05)


def test_the_regime_of_random_slips_is_one_setting_away():
    settings = ColdStartConfig.model_validate({"misconceptions": [], "slip": 0.25})
    assert (settings.misconceptions, settings.slip) == ((), 0.25)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"belief": 1.0}, "belief 1: no rollout would ever leave them, to be rewarded; set belief between 0 and 1"),
        ({"belief": 0.0}, "belief 0: no pupil follows them"),
        ({"misconceptions": EVERYTHING}, "a wrong result for 100% of the steps of the lessons; choose rules for more"),
        ({"misconceptions": [{"sign": "+", "operands": [9], "error": 1}]}, "a wrong result for 0% of the steps"),
    ],
)
def test_what_leaves_nothing_to_learn_is_refused(settings, why):
    with pytest.raises(ValidationError, match=why):
        ColdStartConfig.model_validate(settings)

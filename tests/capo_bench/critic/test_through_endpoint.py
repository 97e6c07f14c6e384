"""The whole way of a language model: prompt, server, parser, votes, cache; with a model that knows the labels."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from controlcritics import quiet
from labelserver import LabelServer, serving, verdict

from capo_bench.critic.ask import CritiqueTerms, TooManyAbstainedError
from capo_bench.critic.measure import CriticMeasurement, MeasurementRequest, measure
from capo_bench.critic.summary import summarise
from capo_bench.store.home import Home
from evals.critics.data import STEP_DATA, Selection
from evals.critics.labels import LabelledSolution
from trainers.critics import CRITICS

COINS = Selection(limit=24)
THREE = CritiqueTerms(3)


def solutions(data: str, selection: Selection) -> list[LabelledSolution]:
    return STEP_DATA.get(data).load(selection).solutions


def asked(
    url: str, home: Path | Home, terms: CritiqueTerms = THREE, data: str = "coins", **more: Any
) -> CriticMeasurement:
    """Measure the model behind an endpoint; `more` are a selection and settings of the critic."""
    selection = more.pop("selection", COINS)
    settings = {"name": "openai", "model": "labels", "base_url": url, "max_retries": 0, "price": PRICE, **more}
    params = CRITICS.get("openai").model_validate(settings)
    return measure(
        MeasurementRequest(params, data, selection, terms), home if isinstance(home, Home) else Home(home), quiet, print
    )


PRICE = {"prompt": 1.0, "cached": 0.1, "output": 4.0}


@pytest.mark.parametrize("data", ["processbench", "prm800k", "prmbench"])
def test_a_model_that_knows_the_labels_is_perfect(data: str, benchmark_data: Path, tmp_path: Path) -> None:
    selection = Selection(source=benchmark_data, limit=40)
    with serving(LabelServer(solutions(data, selection))) as server:
        summary = summarise(asked(server.url, tmp_path, data=data, selection=selection))
    assert {row["f1"] for row in summary.votes} == {1.0}
    assert {row["subsets"]["mean"].f1.value for row in summary.first_error} <= {1.0}
    assert summary.cost["abstained"] == {}


def test_critiques_come_in_one_request_and_their_cost_is_told(tmp_path: Path) -> None:
    with serving(LabelServer(solutions("coins", COINS))) as server:
        cost = summarise(asked(server.url, tmp_path)).cost
    assert Counter(server.requests) == {3: 24, 1: 24}
    assert (cost["critiques"], cost["reused"]) == (96, 0)
    assert (cost["prompt_tokens"], cost["output_tokens"]) == (48 * 100, 96 * 10)
    assert cost["money"] == pytest.approx((48 * 100 * 1.0 + 96 * 10 * 4.0) / 1e6)


def test_what_cannot_be_read_abstains_with_its_reason(tmp_path: Path) -> None:
    def write(solution: LabelledSolution, index: int) -> str:
        return ["", "All good.", verdict(solution, index)][index]

    with serving(LabelServer(solutions("coins", COINS), write)) as server:
        summary = summarise(asked(server.url, tmp_path, terms=CritiqueTerms(3, greedy=False, max_abstained=0.7)))
    assert summary.cost["abstained"] == {"empty": 24, "no_list": 24}
    union = [(row["k"], row["uncritiqued"]) for row in summary.votes if row["rule"] == "union"]
    assert union == [
        (1, 1),
        (2, 1),
        (3, 0),
    ]
    assert summary.votes[-1]["f1"] == 1


def test_a_measurement_that_broke_off_goes_on_with_the_critiques_that_it_has(tmp_path: Path) -> None:
    with serving(LabelServer(solutions("coins", COINS))) as server:
        server.fail_after = 10
        with pytest.raises(TooManyAbstainedError, match="error"):
            asked(server.url, tmp_path, concurrency=1)
        before, server.fail_after = len(server.requests), None
        summary = summarise(asked(server.url, tmp_path, concurrency=1))
        after = len(server.requests)
        again = summarise(asked(server.url, tmp_path, concurrency=1))
    assert before == 10
    # What is under way when it breaks off may be asked again: here one request at a time.
    assert 48 <= after <= 49
    assert len(server.requests) == after
    assert (again.votes, again.alpha) == (summary.votes, summary.alpha)
    assert again.cost["reused"] == again.cost["critiques"] == 96
    assert again.cost["output_tokens"] == summary.cost["output_tokens"]


def test_without_a_cache_everything_is_asked_again(tmp_path: Path) -> None:
    home = Home(tmp_path, keep_critiques=False)
    with serving(LabelServer(solutions("coins", COINS))) as server:
        for _ in range(2):
            assert summarise(asked(server.url, home)).cost["reused"] == 0
        assert len(server.requests) == 96


def test_more_critiques_take_those_that_are_there(tmp_path: Path) -> None:
    with serving(LabelServer(solutions("coins", COINS))) as server:
        asked(server.url, tmp_path, terms=CritiqueTerms(2))
        more = asked(server.url, tmp_path, terms=CritiqueTerms(4))
    assert Counter(server.requests) == {2: 48, 1: 24}
    assert summarise(more).cost["reused"] == 24 * 2 + 24

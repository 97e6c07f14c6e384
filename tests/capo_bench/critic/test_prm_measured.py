"""A process reward model measured: through the scorer that trains, by a threshold and without one."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from controlcritics import measured, oracle, quiet

from capo_bench.cli import main
from capo_bench.critic.ask import CritiqueTerms, TooManyAbstainedError
from capo_bench.critic.choose import choose_critic
from capo_bench.critic.embedded import ensure_embedded_folder
from capo_bench.critic.measure import CriticMeasurement, MeasurementRequest, hash_measurement, measure
from capo_bench.critic.prm import PrmParams, ScoredCritique, explain_abstention
from capo_bench.critic.summary import lay_out_judged_steps, list_doubts, summarise
from capo_bench.pages.critic import build_first_error_table, build_tables, describe_agreement, draw_figures
from capo_bench.pages.critic import write_measurement as write
from capo_bench.store.errors import RefusedError
from capo_bench.store.home import Home
from capo_bench.study.errors import StudyErrors
from evals.coins import COINS
from evals.critics.data import Selection
from evals.critics.labels import StepLabels
from evals.critics.metrics import score_steps
from trainers.credit.critique import Critique
from trainers.critics.base import Solution, Surroundings
from trainers.prm.config import EmbeddedPrmConfig, PrmConfig

SHORT = EmbeddedPrmConfig(steps=4, problems_per_step=8)
ONCE = CritiqueTerms(0)
SOME = Selection(limit=40)


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Home:
    """A results folder that keeps the embedded model, which is taught by the first that asks."""
    return Home(tmp_path_factory.mktemp("home"))


def asked(home: Home, selection: Selection = SOME, data: str = "coins", **settings) -> CriticMeasurement:
    request = MeasurementRequest(PrmParams(embedded=SHORT, **settings), data, selection, ONCE)
    return measure(request, home, quiet, lambda event: None)


@pytest.fixture(scope="module")
def middling(home) -> CriticMeasurement:
    """The model of four steps with a threshold in the midst of its scores."""
    critiques = [row[0] for row in asked(home).asked.greedy]
    return asked(home, threshold=float(np.median([score for said in critiques for score in said.scores])))


def test_its_scores_are_those_that_training_has(home, middling):
    from trainers.prm.scorer import Scorer

    folder = ensure_embedded_folder(middling.request.critic, home, print)
    pairs = [(solution.problem.prompt, solution.steps) for solution in middling.solutions]
    scores = [each.scores for each in Scorer(PrmConfig(), str(folder)).score(pairs)]
    said = [row[0] for row in middling.asked.greedy]
    # Other solutions beside a solution pad it otherwise.
    assert np.concatenate([one.scores for one in said]) == pytest.approx(np.concatenate(scores), abs=1e-6)

    flags = [np.array([score < middling.request.critic.threshold for score in one.scores]) for one in said]
    (row,) = summarise(middling).votes
    scores = score_steps(flags, [solution.labels for solution in middling.solutions])
    assert (row["labelled_steps"], row["wrong_steps"]) == (scores.steps, scores.wrong)
    shares = [[row[f"{name}{end}"] for end in ("", "_low", "_high")] for name in ("precision", "recall", "false_alarm")]
    assert shares == [[*vars(share).values()] for share in (scores.precision, scores.recall, scores.false_alarm)]
    assert 0 < scores.flagged < scores.steps


def test_the_default_threshold_is_that_of_flagged_step_rate():
    from trainers.prm.scored import HALF

    assert PrmParams().threshold == HALF


@pytest.mark.parametrize(("threshold", "recall"), [(0, 0), (1, 1)])
def test_a_threshold_at_either_end_flags_nothing_or_all(home, threshold, recall):
    (row,) = summarise(asked(home, threshold=threshold)).votes
    assert row["recall"] == row["false_alarm"] == recall
    assert row["rule"] == f"score below {threshold}"


def test_doubt_is_of_the_labelled_steps_that_have_a_score():
    labels = [StepLabels(3, frozenset({1}), frozenset({0, 1}), "p"), StepLabels(1, frozenset(), frozenset({0}))]
    rows = [[ScoredCritique(frozenset(), scores=(0.75, 0.25, 0.5))], [ScoredCritique(frozenset(), scores=(1.0,))]]
    doubts, wrong, groups = list_doubts(rows, lay_out_judged_steps(rows, labels))
    assert (doubts.tolist(), wrong.tolist(), groups) == ([0.25, 0.75, 0.0], [False, True, False], ["p", "p", "#1"])
    silent = [[ScoredCritique(None, "error", "too_long")], [Critique(frozenset())]]
    assert list_doubts(silent, lay_out_judged_steps(silent, labels))[2] == []


def test_area_and_calibration_by_hand(tmp_path):
    """Scores of .25 for wrong steps and .75 for right ones: all pairs in order, and a quarter off everywhere."""

    def sure(solution, index):
        scores = tuple(0.25 if step in solution.labels.wrong else 0.75 for step in range(len(solution.steps)))
        return ScoredCritique(solution.labels.wrong, scores=scores)

    found = measured(sure, "coins", tmp_path, terms=ONCE, limit=40)
    summary = summarise(replace(found, request=replace(found.request, critic=PrmParams())))
    assert (summary.area.value, summary.votes[0]["f1"]) == (1, 1)
    assert summary.calibration[1].error == summary.calibration[1].brier * 4 == 0.25
    assert [(part.share, part.wrong) for part in summary.calibration[1].bins] == [(0.25, 0), (0.75, 1)]
    assert summary.alpha.value is None, "one reading agrees with nobody"


def test_any_other_critic_has_no_area(tmp_path):
    summary = summarise(measured(oracle, "coins", tmp_path, terms=CritiqueTerms(1), limit=8))
    assert summary.area is None
    assert describe_agreement(summary).startswith("Agreement among critiques")


def test_what_it_cannot_score_is_an_abstention_with_its_reason(home):
    params = PrmParams(embedded=SHORT)
    critic = params.build(Surroundings(COINS, 0, ensure_embedded_folder(params, home, print)))
    problem = COINS.problems("test", 1)[0]
    long = Solution(problem, ("1 + 1 = 2 " * 5000,))
    (good,), (bad,) = asyncio.run(critic.critique([Solution(problem, ("1 + 1 = 2",)), long], 1, greedy=True))
    assert (good.wrong is None, len(good.scores), explain_abstention(good)) == (False, 1, None)
    assert good.usage.prompt_tokens > 0
    assert (bad.wrong, bad.scores, explain_abstention(bad)) == (None, (), "too_long")


def test_reasons_are_counted_and_told(tmp_path):
    def sometimes(solution, index):
        unscored = ScoredCritique(None, "error", "too_long")
        return unscored if solution.labels.wrong else ScoredCritique(frozenset(), scores=(0.9,) * len(solution.steps))

    found = measured(sometimes, "coins", tmp_path, terms=CritiqueTerms(0, max_abstained=1), limit=40)
    summary = summarise(replace(found, request=replace(found.request, critic=PrmParams())))
    assert summary.cost["abstained"] == {"too_long": summary.erroneous}
    assert summary.votes[0]["uncritiqued"] == summary.erroneous / summary.solutions
    assert summary.area.value is None, "no wrong step has a score"
    with pytest.raises(TooManyAbstainedError, match=r"of 40 solutions have no verdict \(too_long \d+\)"):
        measured(sometimes, "coins", tmp_path, terms=CritiqueTerms(0, max_abstained=0.1), limit=40)


def test_first_errors_as_processbench_scores_them(home, tmp_path):
    row = {"generator": "m", "problem": "?", "steps": ["a", "b", "c"], "final_answer_correct": False}
    rows = [{**row, "id": f"m-{label}-{place}", "label": label} for label in (-1, 0, 1) for place in range(2)]
    (tmp_path / "math.json").write_text(json.dumps(rows), encoding="utf-8")
    data = Selection(("math",), tmp_path)
    # All steps flagged: the first error is found where it is the first step, and no clean solution is left alone.
    (row,) = summarise(asked(home, data, "processbench", threshold=1)).first_error
    assert (row["subsets"]["math"].on_erroneous.value, row["subsets"]["math"].on_clean.value) == (0.5, 0)
    (row,) = summarise(asked(home, data, "processbench", threshold=0)).first_error
    assert (row["subsets"]["math"].on_erroneous.value, row["subsets"]["math"].on_clean.value) == (0, 1)
    assert build_first_error_table([row]).headings[:2] == ("rule", "erroneous")


def test_files_and_page(middling, tmp_path):
    summary = summarise(middling)
    folder = write(middling, summary, Home(tmp_path))
    lines = [json.loads(line) for line in (folder / "critiques.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [tuple(line["greedy"][0]["scores"]) for line in lines] == [row[0].scores for row in middling.asked.greedy]
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert "Critic prm (embedded) on coins" in html
    assert "scored once" in html
    assert "Calibration of 1 − score" in html
    assert "% of pairs of labelled steps" in html
    assert [figure.name for figure in draw_figures(summary)] == ["reliability"]
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    assert result["area"] == {"value": summary.area.value, "low": summary.area.low, "high": summary.area.high}
    assert result["cost"]["prompt_tokens"] == sum(row[0].usage.prompt_tokens for row in middling.asked.greedy) > 0
    assert [row[0] for row in build_tables(summary)[0].rows] == [f"score below {middling.request.critic.threshold:g}"]


def test_what_it_says_is_nowhere_called_a_critique(middling, tmp_path):
    summary = summarise(middling)
    folder = write(middling, summary, Home(tmp_path))
    steps, calibration = build_tables(summary)
    assert steps.headings == ("rule", "precision", "recall", "F1", "false alarms")
    assert calibration.headings == ("labelled steps", "expected calibration error", "Brier score")
    shown = (folder / "report.html").read_text(encoding="utf-8").partition(">Provenance<")[0]
    assert "critique" not in shown.partition("<body>")[2]


def test_the_id_is_of_model_and_threshold(home, middling, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"1")
    params = [PrmParams(), PrmParams(embedded=SHORT), PrmParams(threshold=0.4), PrmParams(batch_tokens=9)]
    params += [PrmParams(model=str(tmp_path)), PrmParams(model="a/b"), PrmParams(model="a/b", format="qwen")]
    ids = [hash_measurement(replace(middling.request, critic=each), middling.solutions) for each in params]
    (tmp_path / "model.safetensors").write_bytes(b"2")
    ids.append(hash_measurement(replace(middling.request, critic=PrmParams(model=str(tmp_path))), middling.solutions))
    assert len(set(ids)) == len(ids)
    assert PrmParams(model="a/b", embedded=SHORT).identity() == PrmParams(model="a/b").identity()


def test_a_folder_without_such_a_model_is_told(tmp_path):
    with pytest.raises(RefusedError, match="critic 'prm' cannot be opened: "):
        asked(Home(tmp_path), model=str(tmp_path))


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("w_whole=2", "w_whole: of training, without effect on the scores; leave it out"),
        ("parameters=7e9", "parameters: of training, without effect on the scores; leave it out"),
        ("threshold=2", "threshold is 2 but should be less than or equal to 1"),
        ("format=qwen", "it reads the format 'trl' and has no revision"),
        ("treshold=1", "unknown key 'treshold' (did you mean 'threshold'?)"),
    ],
)
def test_settings_that_are_none_of_its_own_are_refused(setting, told):
    with pytest.raises(StudyErrors) as errors:
        choose_critic("prm", "quick", [setting])
    assert told in str(errors.value)


def run(home: Home, *arguments: object) -> Result:
    short = [f"embedded.{key}={value}" for key, value in (("steps", 4), ("problems_per_step", 8))]
    sets = [word for setting in short for word in ("--set", setting)]
    words = ["critic", "prm", "--data", "coins", "--limit", 8, "--home", home.path, *sets, *arguments]
    return CliRunner().invoke(main, list(map(str, words)), env={"COLUMNS": "120"})


def test_from_the_command_line(home):
    done = run(home)
    assert done.exit_code == 0, done.output
    assert "8 solutions" in done.stdout
    assert "score below 0.5" in done.stdout
    assert "A wrong step has a lower score than a right one (AUC): " in done.stdout
    assert "0 of 8 solutions without scores" in done.stdout
    assert Path(done.stdout.splitlines()[-1].removeprefix("report: ")).is_file()


@pytest.mark.parametrize("option", [("-k", 4), ("--no-greedy",)])
def test_asking_more_than_once_is_refused(home, option):
    done = run(home, *option)
    assert done.exit_code == 2
    assert "gives the same scores every time" in done.output

"""Trials wait for the models that they share, each for its own and no longer."""

from hypothesis import given
from hypothesis import strategies as st

from capo_bench.run.waiting_trials import WaitingTrials
from capo_bench.store.home import Home
from capo_bench.study.identity import list_shared_models
from capo_bench.study.plan import Trial
from trainers.config import TrialConfig

CRITIC = {"method": "capo", "critic": {"name": "transformers"}}
CONFIGS = [
    TrialConfig.model_validate({"cold_start": {"seed": seed}, **more}) for seed in (0, 1) for more in ({}, CRITIC)
]
CONFIGS.append(TrialConfig.model_validate({"cold_start": None}))


def trials_of(choices):
    return [Trial(f"{at}", f"{at}", 0, CONFIGS[choice], {}) for at, choice in enumerate(choices)]


def test_a_trial_that_needs_a_critic_waits_for_it_and_its_cold_start(tmp_path):
    plain, asks, none = trials_of([0, 1, 4])
    waiting = WaitingTrials([plain, asks, none], Home(tmp_path))
    start, critic = waiting.missing
    assert (start.kind, critic.kind) == ("cold_start", "critic")
    assert waiting.ready() == [none]
    waiting.made(critic)
    assert waiting.ready() == []
    waiting.made(start)
    assert waiting.ready() == [plain, asks]
    assert waiting.ready() == []


def test_what_the_results_folder_has_is_not_waited_for(tmp_path):
    (trial,) = trials_of([0])
    (start,) = list_shared_models(trial.config)
    Home(tmp_path).stage(start.kind, start.key).mkdir(parents=True)
    waiting = WaitingTrials([trial], Home(tmp_path))
    assert (dict(waiting.missing), waiting.ready()) == ({}, [trial])


@given(st.lists(st.integers(0, len(CONFIGS) - 1), max_size=8), st.randoms(use_true_random=False))
def test_every_trial_begins_once_or_is_lost_once_and_never_before_its_models(tmp_path_factory, choices, chance):
    trials = trials_of(choices)
    waiting = WaitingTrials(trials, Home(tmp_path_factory.getbasetemp() / "none"))
    models, made, begun, lost = list(waiting.missing), set(), list(waiting.ready()), []
    chance.shuffle(models)
    for model in models:
        if chance.random() < 0.3:
            lost += waiting.lost(model)
        else:
            waiting.made(model)
            made.add(model)
            begun += waiting.ready()
    assert all(set(list_shared_models(trial.config)) <= made for trial in begun)
    assert sorted(trial.id for trial in [*begun, *lost]) == sorted(trial.id for trial in trials)

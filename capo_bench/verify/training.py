"""Derive the records of training again from its stored rollouts, critiques and scores."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from capo_bench.critic.quality import share_charged
from capo_bench.revote.batch import compute_earned, store_of
from capo_bench.revote.setting import find_trained_setting
from capo_bench.revote.study import read_recorded
from capo_bench.revote.trial import is_whole
from capo_bench.store.home import TrialFolder, read_json
from capo_bench.study.beside import count_model_parameters
from capo_bench.study.code import hash_roots
from capo_bench.verify.checks import Check, Checks
from capo_bench.verify.lengths import Lengths
from evals.benchmarks import Benchmark, Problem
from evals.fingerprint import ADAPTER, is_adapter
from evals.tasks.named import find_benchmark
from evals.verify import VERIFIER_VERSION, Verifier
from trainers.backbones import BACKBONES
from trainers.budget import Meter
from trainers.credit.align import map_tokens_to_steps
from trainers.credit.arrays import FloatArray
from trainers.credit.batch import Evidence, process_signal_only
from trainers.credit.critique import Critique, measure_usage
from trainers.credit.parse import parse
from trainers.credit.segment import SEGMENTERS, list_step_texts
from trainers.credit.votes import VOTES, measure_charges, vote_metrics
from trainers.critics import CRITICS
from trainers.critics.base import Solution, Surroundings
from trainers.critics.language import LanguageParams
from trainers.critics.local import count_parameters
from trainers.methods import METHODS
from trainers.prm.scored import measure_scored
from trainers.rollouts import Rollout, StoredStep, list_stored_steps, read_step

if TYPE_CHECKING:
    from capo_bench.study.plan import Trial
    from trainers.config import TrainConfig, TrialConfig

_ADDED = {"policy_tokens", "policy_prompt_tokens", "unverified", "abstained", "uncritiqued"}
_BY_CLOCK = 0.5
"""Share of a budget of seconds from which the clock of another process can have ended training."""
_SILENT = "groups_without_outcome_signal"
_SINGLE = 1e-7
"""Largest difference of a share from its record, which TRL computes in single precision."""
_MEASURED = {
    *("cpu_seconds", "loss", "grad_norm", "entropy", "clipped_tokens", "mean_ratio", "truncated"),
    *("critic_wait", "critic_money", "sampling_logp_difference"),
}
_OF_THE_TRIAL = {"step", "policy_parameters", "critic_parameters", "budget_share"}
"""Values of a step record that are compared over all of a trial's steps."""
_NO_TEXT = {"timeout", "error", "truncated"}
"""Abstentions that the text alone does not determine."""


def check_training(checks: Checks, trial: Trial, folder: TrialFolder, verifier: Verifier, lengths: Lengths) -> None:
    """Derive the records of a trial's training again, and compare them."""
    if METHODS.get(trial.config.method).train is None:
        return
    check, where, kept = checks["steps"], folder.place(folder.steps), folder.place(folder.rollouts)
    rollouts = _Rollouts(checks, trial, find_benchmark(trial.config.benchmark), verifier, lengths)
    with check.reading(where):
        records, files = read_recorded(folder), list_stored_steps(folder.rollouts)
        _check_end(check, where, [*records.values()], trial.config.train)
        check.equal(f"{where}: numbers of steps", sorted(records), [*range(1, len(records) + 1)])
        _check_sizes(check, where, [*records.values()], trial, folder)
        checks["rollouts"].equal(f"{kept}: steps", sorted(files), sorted(records))
        derived = set[str]()
        for number in sorted(files.keys() & records.keys()):
            with checks["rollouts"].reading(f"{kept}: step {number}"):
                step = read_step(number, files[number])
                for path, part in zip(files[number], step.parts, strict=True):
                    rollouts.check(part, f"{kept}/{path.name}")
                derived |= _check_step(checks, trial, folder, step, records[number])
        _note_rest(check, records, derived)


def _check_step(
    checks: Checks, trial: Trial, folder: TrialFolder, step: StoredStep, record: Mapping[str, Any]
) -> set[str]:
    """Compare a step's record with numbers derived from its rollouts and the settings; return the names of these."""
    check, where, config = checks["steps"], f"{folder.place(folder.steps)}: step {step.step}", trial.config
    credit = _check_credit(checks, trial, folder.place(folder.rollouts), step, record)
    numbers = _add_up([_compute_numbers(part, critics=_count_critiques(trial) > 0) for part in step.parts])
    shared = config.train.group_size if BACKBONES.load(config.backbone).vllm else 1
    numbers |= {"of": config.train.steps, "policy_prefill_tokens": numbers["policy_prompt_tokens"] / shared}
    if _has_no_sizes(record, trial):
        check.leave("FLOPs and weighed tokens, for nobody gave the critic's size (critic.parameters)")
    else:
        sizes = round(record["policy_parameters"]), round(record["critic_parameters"])
        meter = Meter(*sizes, updates=config.train.updates_per_batch)
        # Continuations are not stored, so their tokens cannot be counted again.
        uses_values = "values" in METHODS.get(config.method).uses
        continued = {"value_tokens": record.get("value_tokens", 0.0)} if uses_values else {}
        numbers |= meter.read({**continued, **credit, **numbers})
    silent = _compute_silent_share(record, step, config)
    if silent is not None:
        numbers[_SILENT] = silent
    elif _SILENT in record:
        check.leave("shares of groups without a signal, of outcomes that are not all there")
    _compare(check, where, record, numbers)
    return {*numbers, *credit, _SILENT}


def _has_no_sizes(record: Mapping[str, Any], trial: Trial) -> bool:
    """Return whether a record lacks sizes because the size of the trial's critic is unknown."""
    return "policy_parameters" not in record and _has_critic(trial.config) and _count_critic_parameters(trial) is None


def _has_critic(config: TrialConfig) -> bool:
    return "critic" in METHODS.get(config.method).uses


def _count_critic_parameters(trial: Trial) -> int | None:
    return trial.config.critic.size(Surroundings(find_benchmark(trial.config.benchmark), trial.seed))


def _check_end(check: Check, where: str, records: Sequence[Mapping[str, Any]], train: TrainConfig) -> None:
    """Compare the number of steps with the settings: all steps, or those that reach the budget."""
    budget, last = train.budget, len(records)
    if budget is None:
        check.equal(f"{where}: steps", last, train.steps)
        return
    shares = budget.shares(records)
    for record, share in zip(records, shares, strict=True):
        check.equal(f"{where}: step {record['step']} budget_share", record["budget_share"], share, close=True)
    reached = next((step for step, share in enumerate(shares, 1) if share >= 1), train.steps)
    if budget.unit == "seconds" and last < reached and max(shares, default=0.0) >= _BY_CLOCK:
        # Each of several processes can end training by its own clock, and only one clock is recorded.
        check.take("the step that ended training, which a clock decided")
    else:
        check.equal(f"{where}: steps", last, min(reached, train.steps))


def _check_sizes(
    check: Check, where: str, records: Sequence[Mapping[str, Any]], trial: Trial, folder: TrialFolder
) -> None:
    """Compare the sizes that weigh tokens: they are equal in all steps, and the policy's is that of its weights."""
    sizes = {"policy": None if _has_no_sizes(records[0], trial) else _count_parameters(folder.model)}
    if _has_critic(trial.config):
        sizes["critic"] = _count_critic_parameters(trial)
    for name in ("policy_parameters", "critic_parameters"):
        check.equal(f"{where}: values of {name}", len({record.get(name) for record in records}), 1)
    for who, size in sizes.items():
        if size is None:
            check.leave(f"the {who}'s size, which only its weights tell")
        else:
            check.equal(f"{where}: {who}_parameters", records[0].get(f"{who}_parameters"), size)


def _count_parameters(model: Path) -> int | None:
    """Return the number of parameters of a trained model without its adapter; None if its weights are not here."""
    if not is_adapter(model):
        return count_parameters(model)
    settings = read_json(model / ADAPTER)
    return count_model_parameters(settings["base_model_name_or_path"], settings.get("revision"))


def _note_rest(check: Check, records: Mapping[int, Mapping[str, Any]], derived: set[str]) -> None:
    names = [name for record in records.values() for name in record if name not in _OF_THE_TRIAL | derived]
    measured = [name for name in names if name in _MEASURED or name.startswith("seconds")]
    check.take("losses, gradients, lengths at the limit and seconds, which only training could measure", len(measured))
    rest = sorted({*names} - {*measured})
    check.leave(f"values of step records ({', '.join(rest)})", len(rest) * len(records))


def _compute_silent_share(record: Mapping[str, Any], step: StoredStep, config: TrialConfig) -> float | None:
    """Return the share of groups whose rollouts have equal outcomes; None if outcomes are missing or not rewarded.

    TRL computes it in single precision: a record that differs only by rounding is returned itself.
    """
    outcomes, size = [rollout.outcome for rollout in step.rollouts], config.train.group_size
    if None in outcomes or _SILENT not in record or "judged" in record:
        return None
    groups = [outcomes[first : first + size] for first in range(0, len(outcomes), size)]
    share = sum(len({*group}) == 1 for group in groups) / len(groups)
    return float(record[_SILENT]) if math.isclose(record[_SILENT], share, abs_tol=_SINGLE) else share


def _count_critiques(trial: Trial) -> int:
    return trial.config.credit.critiques if _has_critic(trial.config) else 0


@dataclass(frozen=True)
class _Rollouts:
    """Checks the rollouts of a trial with their critiques."""

    checks: Checks
    trial: Trial
    benchmark: Benchmark
    verifier: Verifier
    lengths: Lengths

    def check(self, rollouts: Sequence[Rollout], where: str) -> None:
        """Check the rollouts of a file."""
        check = self.checks["rollouts"]
        same = self.trial.identity["training"].get("verifier") == VERIFIER_VERSION
        pairs = [("" if rollout.cut else rollout.text, rollout.answer) for rollout in rollouts]
        style = self.trial.config.train.answers
        verdicts = self.verifier.verify(pairs, style=style) if same else [None] * len(pairs)
        for number, (rollout, verdict) in enumerate(zip(rollouts, verdicts, strict=True), 1):
            line = f"{where}:{number}"
            if verdict is None or verdict.correct is None:
                check.leave("outcomes that another verifier, or a limit of time or memory here, decided")
            else:
                check.equal(f"{line} outcome", rollout.outcome, float(verdict.correct))
            _cut(check, self.trial.config, rollout, line)
            self.lengths.prompt(check, line, rollout.prompt, rollout.prompt_tokens)
            if rollout.truth is not None:
                wrong = self.benchmark.check_steps(_build_problem(rollout), rollout.steps).wrong
                check.equal(f"{line} wrong steps", sorted(rollout.truth), sorted(wrong))
            self._critiques(rollout, line)

    def _critiques(self, rollout: Rollout, where: str) -> None:
        """Derive the verdicts of critiques again: by asking a shipped critic again, or from their texts."""
        check = self.checks["critiques"]
        check.equal(f"{where} number of critiques", len(rollout.critiques), _count_critiques(self.trial))
        for number, (critique, again) in enumerate(zip_longest(rollout.critiques, self._draw(rollout))):
            place = f"{where} critique {number}"
            if critique is None:
                continue  # their number differs
            if again is not None:
                check.equal(place, _get_verdict(critique), _get_verdict(again))
            elif not critique.text:
                check.leave("critiques without a text; the credit check counts their flags")
            elif critique.abstained in _NO_TEXT:
                check.leave("critiques that were cut off or failed")
            elif not _has_same_parser(self.trial):
                check.leave("critiques that another version of the parser read")
            else:
                critic = self.trial.config.critic
                reply = critic.reply if isinstance(critic, LanguageParams) else "list"
                verdict = parse(critique.text, rollout.aim, len(rollout.steps), reply=reply)
                check.equal(place, _get_verdict(critique), verdict if isinstance(verdict, str) else sorted(verdict))

    def _draw(self, rollout: Rollout) -> Sequence[Critique]:
        """Return the critiques of a shipped critic that is a function of seed and solution; nothing for others."""
        params, asked = self.trial.config.critic, _count_critiques(self.trial)
        if params.kept or not asked or not type(params).__module__.startswith("trainers."):
            return ()
        critic = params.build(Surroundings(self.benchmark, self.trial.seed))
        solution, vote = Solution(_build_problem(rollout), rollout.steps, rollout.aim), self.trial.config.credit.vote
        (critiques,) = asyncio.run(critic.critique([solution], asked, greedy=VOTES.get(vote).asks_one))
        return critiques


def _build_problem(rollout: Rollout) -> Problem:
    return Problem(rollout.problem, rollout.prompt, rollout.answer)


def _get_verdict(critique: Critique) -> str | list[int]:
    return critique.abstained or sorted(critique.wrong or ())


def _cut(check: Check, config: TrialConfig, rollout: Rollout, where: str) -> None:
    """Cut a rollout into steps again by the texts of its tokens, and count each step's tokens."""
    if not rollout.pieces:
        check.leave("lengths and steps of rollouts whose tokens' texts were not kept")
        return
    section = next((name for name in ("prm", "credit") if name in METHODS.get(config.method).uses), "evaluation")
    text, ends = "".join(rollout.pieces), np.cumsum([len(piece) for piece in rollout.pieces])
    spans = SEGMENTERS.get(getattr(config, section).segmenter)(text)
    index = map_tokens_to_steps(np.concatenate(([0], ends[:-1])), ends, spans)
    check.equal(f"{where} steps", list(rollout.steps), list(list_step_texts(text, spans)))
    if text.isascii():  # elsewhere two tokens may share a character
        check.equal(f"{where} tokens", list(rollout.tokens), np.bincount(index, minlength=len(spans)).tolist())


def _has_same_parser(trial: Trial) -> bool:
    """Return whether the code of the critic, including its parser, is the code that the trial used."""
    critic = hash_roots({"critic": CRITICS.target(trial.config.critic.name)})
    return bool(critic.items() <= trial.identity["training"]["code"].items())


def _check_credit(
    checks: Checks, trial: Trial, place: str, step: StoredStep, record: Mapping[str, Any]
) -> dict[str, float]:
    """Compare the recorded numbers of credit with those derived from votes and scores; return the derived ones."""
    check, method = checks["credit"], METHODS.get(trial.config.method)
    where = f"{place}: step {step.step}"
    if not method.rests_on_rollouts:
        return {}  # its numbers of credit, if any, cannot be derived
    if "prm" in method.uses:
        lacking = sum(rollout.scored is None for rollout in step.rollouts)
        checks["rollouts"].equal(f"{where} without scores or a reason", lacking, 0)
        check.leave("scores of a process reward model, which only the model could give again", len(step.rollouts))
    if any(len(rollout.critiques) != _count_critiques(trial) for rollout in step.rollouts):
        check.leave("credit of rollouts with another number of critiques than the settings")
        return {}
    if not is_whole(step, trial.config.train.group_size):
        check.differs(where, "whole groups", "others")
        return {}
    numbers = _add_up(compute_credit_numbers(trial.config, step))
    _compare(check, f"{place} and steps.jsonl: step {step.step}", record, numbers)
    return numbers


def compute_credit_numbers(config: TrialConfig, step: StoredStep) -> list[dict[str, float]]:
    """Return the numbers of credit that each process would record."""
    stored = store_of(step.rollouts, config.credit.critiques)
    earned = compute_earned(stored, config)
    only = process_signal_only(stored.batch(config.train.group_size, Evidence()), earned.advantages)
    numbers, start = [], 0
    for part in step.parts:
        end = start + sum(len(rollout.steps) for rollout in part)
        charges = None if earned.charges is None else earned.charges[start:end]
        numbers.append({**_compute_judged_numbers(config, part, charges), "groups_process_signal_only": only})
        start = end
    return numbers


def _compute_judged_numbers(
    config: TrialConfig, part: Sequence[Rollout], charges: FloatArray | None
) -> dict[str, float]:
    if "prm" in METHODS.get(config.method).uses:
        return measure_scored([rollout.scored for rollout in part if rollout.scored])
    if not _has_critic(config):
        return {}
    stored = store_of(part, config.credit.critiques)
    asked = config.credit.critiques * len(part)
    return {
        **vote_metrics(stored.flags, share_charged(stored.flags, find_trained_setting(config.credit).ballot)),
        **({} if charges is None else measure_charges(stored.layout, charges)),
        "abstained": float(asked - stored.flags.answered.sum()),
    }


def _add_up(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the numbers of a step: those of its processes, added or averaged as training does."""
    derived = {}
    for name in parts[0]:
        values = [numbers[name] for numbers in parts if not math.isnan(numbers[name])]
        added = name in _ADDED or name.startswith("criti")
        derived[name] = math.nan if not values else sum(values) if added else sum(values) / len(values)
    return derived


def _compare(check: Check, where: str, record: Mapping[str, Any], derived: Mapping[str, float]) -> None:
    """Compare a step's record with derived numbers; an undefined number may be absent."""
    for name, value in derived.items():
        stored = record.get(name)
        check.equal(f"{where} {name}", math.nan if stored is None else stored, value, close=True)


def _compute_numbers(rollouts: Sequence[Rollout], *, critics: bool) -> dict[str, float]:
    outcomes = [rollout.outcome for rollout in rollouts if rollout.outcome is not None]
    steps = sum(len(rollout.steps) for rollout in rollouts)
    tokens = sum(sum(rollout.tokens) for rollout in rollouts)
    numbers = {
        "outcome": sum(outcomes) / len(outcomes) if outcomes else math.nan,
        "unverified": float(len(rollouts) - len(outcomes)),
        "steps_per_response": steps / len(rollouts),
        "single_step_responses": sum(len(rollout.steps) <= 1 for rollout in rollouts) / len(rollouts),
        "tokens_per_response": tokens / len(rollouts),
        "policy_tokens": float(tokens),
        "policy_prompt_tokens": float(sum(rollout.prompt_tokens for rollout in rollouts)),
        **(measure_usage([rollout.critiques for rollout in rollouts]) if critics else {}),
    }
    if all(rollout.truth is not None for rollout in rollouts):
        wrong = sum(len(rollout.truth or ()) for rollout in rollouts)
        numbers["wrong_step_rate"] = wrong / max(steps, 1)
    return numbers

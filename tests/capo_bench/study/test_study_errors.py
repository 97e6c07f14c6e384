"""What a wrong study is told: file and line, the value, the rule, the way out; everything at once."""

from __future__ import annotations

from collections.abc import Callable
from textwrap import dedent

import pytest

from capo_bench.study.errors import Place, StudyError, StudyErrors
from capo_bench.study.plan import Plan
from trainers.methods import METHODS

One = Callable[..., str]
Many = Callable[..., list[StudyError]]


def test_a_misspelt_key_is_told_with_the_nearest(error: One, demo: str) -> None:
    assert error(demo.replace("critiques: 4", "voting_rle: 4")) == (
        "study.yaml:7: unknown key 'voting_rle' under 'credit' (did you mean 'vote'?)"
    )
    assert error(demo.replace("critiques: 4", "zzz: 4")).startswith(
        "study.yaml:7: unknown key 'zzz' under 'credit'; known keys: segmenter, critiques, vote, at_least, "
    )
    assert error(demo.replace("critiques: 4", "critiqes: 4")) == (
        "study.yaml:7: unknown key 'critiqes' under 'credit' (did you mean 'critiques'?)"
    )


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("seeds:", "seds:", "study.yaml:10: unknown key 'seds' (did you mean 'seeds'?)"),
        ("method: capo", "methd: capo", "study.yaml:5: unknown key 'methd' (did you mean 'method'?)"),
        (
            "{name: noisy}",
            "{name: noisy, mis: 0.1}",
            "study.yaml:6: unknown key 'mis' under 'critic' (did you mean 'miss'?)",
        ),
        (
            "  credit.vote: [union, majority]",
            "  credit.vte: [union, majority]\n  credit.vote: [union]",
            "study.yaml:9: unknown key 'credit.vte' under 'matrix' (did you mean 'credit.vote'?)",
        ),
        (
            "matrix:",
            "include:\n  - name: x\n    set: {vote: union}\nmatrix:",
            "study.yaml:10: unknown key 'vote' under 'set' (did you mean 'credit.vote'?)",
        ),
        (
            "matrix:",
            "include:\n  - {nme: x, name: y}\nmatrix:",
            "study.yaml:9: unknown key 'nme' under 'include[0]' (did you mean 'name'?)",
        ),
        (
            "matrix:",
            "exclude: [{credit.vot: union}]\nmatrix:",
            "study.yaml:8: unknown key 'credit.vot' under 'exclude' (did you mean 'credit.vote'?)",
        ),
        (
            "matrix:",
            "profiles:\n  quick: {set: {train.step: 3}}\nmatrix:",
            "study.yaml:9: unknown key 'train.step' under 'set' (did you mean 'train.steps'?)",
        ),
        (
            "matrix:",
            "profiles:\n  quick: {matrx: {}}\nmatrix:",
            "study.yaml:9: unknown key 'matrx' under 'profiles.quick' (did you mean 'matrix'?)",
        ),
    ],
)
def test_unknown_keys_are_errors_at_every_level(error: One, demo: str, old: str, new: str, told: str) -> None:
    # The exact text of a line decides which line is meant, so only the first occurrence is replaced.
    assert error(demo.replace(old, new, 1)) == told


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "critiques: 4",
            "critiques: four",
            "study.yaml:7: credit.critiques is 'four' but should be a valid integer; write a whole number",
        ),
        (
            "critiques: 4",
            "critiques: '4'",
            "study.yaml:7: credit.critiques is '4' but should be a valid integer; write a whole number",
        ),
        (
            "critiques: 4",
            "critiques: 0",
            "study.yaml:7: credit.critiques is 0 but should be greater than or equal to 1; "
            "choose a value within the bound",
        ),
        (
            "{name: noisy}",
            "{name: noisy, miss: 2}",
            "study.yaml:6: critic.miss is 2 but should be less than or equal to 1; choose a value within the bound",
        ),
        ("{name: noisy}", "{name: nosy}", "study.yaml:6: critic: unknown name 'nosy' (did you mean 'noisy'?)"),
        (
            "name: demo",
            "name: 3",
            "study.yaml:1: name is 3 but should be a valid string; write text; quote it if it looks like a number",
        ),
        (
            "seeds: [0, 1]",
            "seeds: 3",
            "study.yaml:10: seeds is 3 but should be a valid list; write a list, e.g. [a, b]",
        ),
        (
            "seeds: [0, 1]",
            "seeds: [0, x]",
            "study.yaml:10: seeds[1] is 'x' but should be a valid integer; write a whole number",
        ),
        (
            "seeds: [0, 1]",
            "seeds: {from: 3, to: 8, looks: [3, 5, 5, 8]}",
            "study.yaml:10: seeds.looks: [3, 5, 5, 8] does not increase; "
            "write each number of seeds once, the smallest first",
        ),
        (
            "seeds: [0, 1]",
            "seeds: {from: 8, to: 3, looks: [8, 9]}",
            "study.yaml:10: seeds.to: 3 is below from, 8; write the smaller number of seeds in from",
        ),
        (
            "seeds: [0, 1]",
            "seeds:\n  from: 3\n  to: 8\n  looks: [3, 5, 9]",
            "study.yaml:13: seeds.looks: the last look is at 9 seeds but to is 8; make them equal",
        ),
        (
            "seeds: [0, 1]",
            "seeds: {from: 3, to: 8, looks: [4, 8]}",
            "study.yaml:10: seeds.looks: the first look is at 4 seeds but from is 3; make them equal",
        ),
        (
            "seeds: [0, 1]",
            "seeds: {from: 3, to: 3, looks: [3]}",
            "study.yaml:10: seeds.looks: [3] is no sequence of looks; "
            "name two or more, or fixed seeds, e.g. seeds: [0, 1]",
        ),
        (
            "seeds: [0, 1]",
            "seeds: {from: 1, to: 3, looks: [1, 3]}",
            "study.yaml:10: seeds.from is 1 but should be greater than or equal to 2; choose a value within the bound",
        ),
        (
            "seeds: [0, 1]",
            "seeds: {from: 2, to: 3, look: [2, 3], looks: [2, 3]}",
            "study.yaml:10: unknown key 'look' under 'seeds' (did you mean 'looks'?)",
        ),
        ("seeds: [0, 1]", "seeds: [1, 0, 1]", "study.yaml:10: seeds: 1 appears more than once; name each once"),
        (
            "method: capo",
            "method: cappo",
            f"study.yaml:5: method: unknown method 'cappo' (did you mean 'capo'?); known: {', '.join(METHODS.names())}",
        ),
        ("question: Does the vote matter?\n", "", "study.yaml:1: key 'question' is missing; add it"),
        (
            "name: demo",
            "name: ../demo",
            "study.yaml:1: name is '../demo' but should match pattern '^[A-Za-z0-9][A-Za-z0-9_.-]*$'; "
            "write it as the pattern wants",
        ),
    ],
)
def test_wrong_values_are_told_with_value_and_rule(errors: Many, demo: str, old: str, new: str, told: str) -> None:
    assert told in [str(item) for item in errors(demo.replace(old, new, 1))]


def test_an_empty_matrix_list(error: One, demo: str) -> None:
    assert error(demo.replace("[union, majority]", "[]")) == (
        "study.yaml:9: matrix.credit.vote is [] but should have at least 1 item; give as many items as it takes"
    )


def test_zip_rows_of_unequal_length(error: One, demo: str) -> None:
    zipped = "zip:\n  credit.critiques: [2, 4]\n  credit.w_process: [1.0]\n"
    assert error(demo + zipped) == (
        "study.yaml:12: zip: lists of unequal length: 'credit.critiques' has 2, 'credit.w_process' has 1; "
        "zipped values go together, give each key as many"
    )


def test_an_exclude_that_removes_everything(error: One, demo: str) -> None:
    text = (
        demo
        + "include: [{name: x, set: {method: sft}}]\nexclude:\n  - {credit.vote: union}\n  - {credit.vote: majority}\n"
    )
    found = error(text.replace("baseline: vote=union", "baseline: x"))
    assert found.startswith("study.yaml:13: exclude [{'credit.vote': 'union'}, ")
    assert found.endswith("removes all 2 combinations of matrix and zip; leave at least one")


@pytest.mark.parametrize("entry", ["{credit.vote: average}", "{credit.vote: union, credit.critiques: 4}"])
def test_an_exclude_that_removes_nothing(error: One, demo: str, entry: str) -> None:
    found = error(f"{demo}exclude:\n  - {entry}\n")
    assert found.startswith("study.yaml:13: exclude entry {'credit.vote': ")
    assert "removes nothing: no combination of matrix and zip has these values; correct its keys" in found


def test_a_key_in_matrix_and_in_zip(error: One, demo: str) -> None:
    assert error(demo + "zip: {credit.vote: [average]}\n") == (
        "study.yaml:12: key 'credit.vote' is in matrix and in zip; a key is swept in one of them; "
        "remove it from one of them"
    )


def test_a_value_twice_in_the_matrix(errors: Many, demo: str) -> None:
    found = errors(demo.replace("[union, majority]", "[union, majority, union]"))
    assert [str(item) for item in found] == ["study.yaml:9: matrix.credit.vote has 'union' twice; remove one"]


def test_variants_that_are_one_trial_because_nothing_differs(error: One, demo: str) -> None:
    same = "include:\n  - name: again\n    set: {credit.vote: union}\n"
    assert error(demo + same) == (
        "study.yaml:13: variants 'vote=union' and 'again' are the same trial: all that decides the result is equal; "
        "keep one of them (remove or exclude the others)"
    )


def test_variants_that_are_one_trial_because_a_key_does_not_matter(error: One, demo: str) -> None:
    assert error(demo.replace("method: capo", "method: grpo_rule")) == (
        "study.yaml:9: variants 'vote=union' and 'vote=majority' are the same trial: 'credit.vote' does not matter "
        "to method 'grpo_rule', which uses train; keep one of them (remove or exclude the others)"
    )


def test_a_rule_that_needs_more_critiques_than_there_are(error: One, demo: str) -> None:
    three = "include:\n  - name: strict\n    set:\n      credit.vote: at_least\n      credit.at_least: 5\n"
    assert error(demo + three) == (
        "study.yaml:16: variant 'strict': credit: vote 'at_least' needs 5 critiques that agree but critiques is 4; "
        "set critiques to 5 or more, or at_least to 4 or fewer"
    )


def test_a_rule_broken_by_many_variants_is_told_once(error: One, demo: str) -> None:
    text = demo.replace("[union, majority]", "[greedy]\n  train.steps: [1, 2, 3, 4, 5]")
    assert error(text.replace("vote=union", "vote=greedy,steps=1")) == (
        "study.yaml:9: variants 'vote=greedy,steps=1', 'vote=greedy,steps=2', 'vote=greedy,steps=3' and 2 more: "
        "credit: vote 'greedy' takes one critique at temperature 0 but critiques is 4; set critiques to 1"
    )


def test_greedy_takes_one_critique(error: One, demo: str) -> None:
    assert error(demo.replace("[union, majority]", "[union, greedy]")) == (
        "study.yaml:9: variant 'vote=greedy': credit: vote 'greedy' takes one critique at temperature 0 but critiques "
        "is 4; set critiques to 1"
    )


def test_a_wrong_value_in_the_matrix_is_told_at_its_line(error: One, demo: str) -> None:
    text = demo.replace("[union, majority]", "\n    - union\n    - majorty")
    assert error(text) == (
        "study.yaml:11: credit.vote: unknown voting rule 'majorty' (did you mean 'majority'?); known: greedy, "
        "intersection, majority, union, average, at_least, first_index"
    )


@pytest.mark.parametrize(
    ("role", "told"),
    [
        ("baseline", "study.yaml:3: baseline 'vote=onion' is not a variant of the study (did you mean 'vote=union'?)"),
        ("start", "study.yaml:3: start 'vote=onion' is not a variant of the study (did you mean 'vote=union'?)"),
    ],
)
def test_baseline_and_start_are_variants(error: One, demo: str, role: str, told: str) -> None:
    extra = "" if role == "baseline" else "\nbaseline: vote=union"
    assert error(demo.replace("baseline: vote=union", f"{role}: vote=onion{extra}")) == told


@pytest.mark.parametrize(
    ("metric", "told"),
    [
        (
            "coins_test/acuracy",
            "unknown metric 'acuracy' (did you mean 'accuracy'?); known: accuracy, ",
        ),
        ("accuracy", "metric 'accuracy' names no task; write task/metric, e.g. coins_test/accuracy"),
        (
            "coins_tset/accuracy",
            "metric 'coins_tset/accuracy': task 'coins_tset' is not in evaluation.tasks of variant 'vote=union' "
            "(did you mean 'coins_test'?)",
        ),
    ],
)
def test_metrics_are_of_a_task_and_known(error: One, demo: str, metric: str, told: str) -> None:
    found = error(demo.replace("coins_test/accuracy", metric))
    assert found.startswith("study.yaml:11: ")
    assert told in found


def test_tasks_are_known(error: One, demo: str) -> None:
    text = demo.replace("base:\n", "base:\n  evaluation:\n    tasks:\n      - coins_test\n      - coins_longr\n")
    assert error(text).startswith("study.yaml:6: evaluation.tasks: unknown task or suite 'coins_longr'")


def test_include_may_not_take_a_name_of_the_matrix(errors: Many, demo: str) -> None:
    found = errors(demo + "include: [{name: vote=union, set: {method: sft}}]\n")
    assert str(found[0]) == (
        "study.yaml:12: two variants are named 'vote=union': one of the matrix and one of include; "
        "rename the one in include"
    )


def test_include_names_differ(error: One, demo: str) -> None:
    found = error(demo + "include: [{name: a}, {name: a, set: {method: sft}}]\n")
    assert found == "study.yaml:12: include: two variants are named 'a'; rename one"


def test_an_unknown_profile(error: One, demo: str) -> None:
    text = demo + "profiles:\n  full: {seeds: [0]}\n"
    assert error(text, "ful") == "study.yaml:12: unknown profile 'ful' (did you mean 'full'?)"
    assert error(demo, "paper") == "study.yaml:1: unknown profile 'paper'; profiles: quick"


def test_an_embedded_backbone_needs_a_cold_start(errors: Many, demo: str) -> None:
    found = errors(demo.replace("base:\n", "base:\n  backbone: tiny\n  cold_start: null\n"))
    assert str(found[0]) == (
        "study.yaml:5: variant 'vote=union': backbone 'tiny' has random weights and needs a cold start; "
        "set cold_start: {}"
    )


def test_a_trained_backbone_is_taught_by_demonstrations_that_are_named(errors: Many, demo: str) -> None:
    found = errors(demo, sets=["backbone=qwen2.5-1.5b"])
    assert str(found[0]) == (
        "--set backbone=qwen2.5-1.5b: variant 'vote=union': backbone 'qwen2.5-1.5b' is trained already, and cold_start "
        "names no demonstrations; name some, as in cold_start: {demonstrations: {file: sft.jsonl}}, or set "
        "cold_start: null"
    )
    found = errors(demo, sets=["backbone=qwen2.5-1.5b", "cold_start={demonstrations: gsm9k, step: 3}"])
    assert [str(one).partition("}: ")[2] for one in found] == [
        "cold_start.demonstrations: unknown set of demonstrations 'gsm9k' (did you mean 'gsm8k'?); known: gsm8k, math, "
        "numina_math",
        "unknown key 'step' under 'cold_start' (did you mean 'steps'?)",
    ]


def test_sft_is_a_model_after_supervised_training_and_base_one_before(errors: Many, demo: str) -> None:
    sets = ["backbone=qwen2.5-1.5b", "cold_start=null", "method=sft"]
    assert str(errors(demo, sets=sets)[0]) == (
        "--set method=sft: variant 'vote=union': method 'sft' is the model after supervised training, and backbone "
        "'qwen2.5-1.5b' gets none; name demonstrations (cold_start.demonstrations), or set method: base for the model "
        "as it is"
    )
    assert str(errors(demo, sets=["method=base"])[0]).endswith(
        "backbone 'tiny' has random weights, and method 'base' takes it as it is; set method: sft, which is the model "
        "after its supervised training"
    )


def test_a_tiny_policy_is_not_its_own_critic(errors: Many, demo: str) -> None:
    first, _ = errors(demo, sets=["critic={name: transformers, model: policy}"])
    assert str(first) == (
        "--set critic={name: transformers, model: policy}: variant 'vote=union': critic.model is 'policy', and "
        "backbone 'tiny' knows solutions of coins and no other text: every critique would abstain; set critic.model to "
        "'embedded', or backbone to one of a hub or a folder"
    )


def test_a_critic_that_is_split_over_gpus_is_served(errors: Many, demo: str) -> None:
    first, _ = errors(demo, sets=["critic={name: vllm, model: org/critic, tensor_parallel_size: 4}"])
    assert str(first) == (
        "--set critic={name: vllm, model: org/critic, tensor_parallel_size: 4}: variant 'vote=union': "
        "critic.tensor_parallel_size is 4, and a critic in the process has the one GPU of that process; set critic: "
        "{name: openai, model: …, serve: {gpus: 4, tensor_parallel_size: 4}}, which is served on GPUs of its own, or "
        "tensor_parallel_size to 1"
    )


@pytest.mark.parametrize(
    ("critic", "told"),
    [
        ("serve: {gpus: 6, tensor_parallel_size: 4}", "gpus 6 is no multiple of tensor_parallel_size 4"),
        ("serve: {gpu: 1}", "unknown key 'gpu' under 'critic.serve' (did you mean 'gpus'?)"),
        ("serve: {}, base_url: 'http://127.0.0.1:8000/v1'", "both base_url and serve are set"),
    ],
)
def test_what_a_served_critic_cannot_be(errors: Many, demo: str, critic: str, told: str) -> None:
    text = demo.replace("{name: noisy}", f"{{name: openai, model: org/critic, {critic}}}")
    (error,) = errors(text)
    assert str(error).startswith("study.yaml:6: ")
    assert told in str(error)


def test_the_embedded_process_reward_model_is_of_coins_alone(errors: Many, demo: str) -> None:
    text = demo.replace("method: capo", "method: prm_sum").replace("credit.vote: [union, majority]", "train.kl: [0, 1]")
    found = errors(text.replace("vote=union", "kl=0"), sets=["benchmark=gsm8k"])
    assert str(found[0]) == (
        "study.yaml:4: variant 'kl=0': prm.model 'embedded' is taught on coins, and benchmark 'gsm8k' is another; "
        "set prm.model to a folder or a repository id, or train on coins"
    )


def test_the_embedded_process_reward_model_reads_one_format(error: One, demo: str) -> None:
    told = error(demo, sets=["prm.format=qwen"])
    assert told == (
        "--set prm.format=qwen: variants 'vote=union', 'vote=majority': prm: model 'embedded' with format 'qwen' and "
        "revision None: it reads the format 'trl' and has no revision; set model to a repository id or a folder, or "
        "leave both out"
    )


def test_what_a_method_ignores_of_a_section_makes_no_variant(error: One, demo: str) -> None:
    text = demo.replace("method: capo", "method: prm_sum").replace(
        "credit.vote: [union, majority]", "prm.temperature: [0.1, 1.0]"
    )
    assert error(text.replace("vote=union", "temperature=0.1")) == (
        "study.yaml:9: variants 'temperature=0.1' and 'temperature=1.0' are the same trial: 'prm.temperature' does not "
        "matter to method 'prm_sum', which uses prm, train; keep one of them (remove or exclude the others)"
    )


@pytest.mark.parametrize(
    ("sets", "told"),
    [
        (
            "credit.critiqes=2",
            "--set credit.critiqes=2: unknown key 'credit.critiqes' (did you mean 'credit.critiques'?)",
        ),
        (
            "credit.critiques=two",
            "--set credit.critiques=two: credit.critiques is 'two' but should be a valid integer; write a whole number",
        ),
        (
            "credit.critiques",
            "--set credit.critiques: 'credit.critiques' is not KEY=VALUE; e.g. credit.vote=union; KEY=A,B sweeps",
        ),
        (
            "credit.vote=average",
            "--set credit.vote=average: key 'credit.vote' is set for all variants, but the study sweeps "
            "'credit.vote'; pick variants with --only, or change the matrix in the file",
        ),
        (
            "train.micro_batch=100",
            "--set train.micro_batch=100: variants 'vote=union', 'vote=majority': train: prompts_per_step 8 × "
            "group_size 16 = 128 rollouts do not split into micro-batches of 100; set micro_batch to a divisor of 128",
        ),
    ],
)
def test_set_is_checked_like_the_file(error: One, demo: str, sets: str, told: str) -> None:
    assert error(demo, sets=[sets]) == told


def test_set_of_broken_yaml(error: One, demo: str) -> None:
    assert error(demo, sets=["credit.critiques=[1"]).startswith("--set credit.critiques=[1: not valid YAML: ")


@pytest.mark.parametrize(
    ("only", "told"),
    [
        ("vote=onion", "--only vote=onion: 'vote=onion' matches no variant; variants: vote=union, vote=majority"),
        ("seed=7", "--only seed=7: 'seed=7' matches no seed; seeds: 0, 1"),
    ],
)
def test_only_that_matches_nothing(error: One, demo: str, only: str, told: str) -> None:
    assert error(demo, only=[only]) == told


def test_everything_is_told_at_once(errors: Many) -> None:
    text = """\
        name: demo
        question: Does it?
        baseline: nobody
        base:
          credit: {critiqes: 4, w_whole: much}
          train: {steps: 0}
        matrix:
          credit.vote: [union, majorty]
          train.stps: [1]
        zip:
          credit.critiques: []
        metrics: [test/acuracy, nowhere/steps]
        seeds: [0, 0]
        sed: 1
        """
    found = errors(text)
    assert [item.place.line for item in found] == [5, 5, 6, 8, 9, 11, 12, 12, 13, 14]
    assert all(item.way_out for item in found)


def test_all_profiles_are_checked(errors: Many, demo: str) -> None:
    text = demo + "profiles:\n  a: {metrics: [tst/steps]}\n  b: {baseline: nobody}\n"
    assert [item.place.line for item in errors(text)] == [13, 14]


def test_a_duplicate_is_not_told_beside_its_cause(errors: Many, demo: str) -> None:
    found = errors(demo.replace("credit.vote:", "credit.vte:"))
    assert [item.rule for item in found] == ["unknown key 'credit.vte' under 'matrix'"]


def test_errors_come_in_the_order_of_files_and_lines_each_once() -> None:
    items = [StudyError(Place(file, line), "wrong", "mend") for file, line in [("b", 2), ("a", 9), ("b", 1), ("b", 2)]]
    assert str(StudyErrors(items)) == dedent("""\
        a:9: wrong; mend
        b:1: wrong; mend
        b:2: wrong; mend""")


def test_variants_are_measured_like_the_baseline(error: One, demo: str) -> None:
    odd = "include: [{name: odd, set: {credit.critiques: 2, evaluation.temperature: 0.5}}]\n"
    assert error(demo + odd) == (
        "study.yaml:12: variant 'odd' has evaluation.temperature 0.5 and baseline 'vote=union' has None; "
        "numbers measured in two ways are not compared: set it in base, for all"
    )


@pytest.mark.parametrize("idle", ["clip: {upper: 0.28}", "ratio: sequence"])
def test_a_clip_that_never_bites_is_refused(errors: Many, demo: str, idle: str) -> None:
    first, *_ = errors(demo.replace("credit: {critiques: 4}", f"train: {{{idle}}}"))
    assert str(first).startswith("study.yaml:7: ")
    assert str(first).endswith(
        f"{idle.partition(':')[0]} is set and decides nothing: with updates_per_batch 1 the ratio that is clipped is "
        "1; remove it, or set updates_per_batch to 2 or more"
    )


def test_a_control_without_a_checker_is_refused_with_the_way_out(errors: Many, demo: str) -> None:
    first, *_ = errors(demo, sets=["critic={name: shuffled}", "benchmark=gsm8k"])
    assert (
        "variant 'vote=union': critic 'shuffled' rests on a checker of steps, and benchmark 'gsm8k' has none; name a "
        "critic that is a language model of its own (or, as a control, 'random' with its rate), or train on coins"
    ) in str(first)


@pytest.mark.parametrize("sets", [["critic={name: random}"], ["method=outcome_only"]])
def test_a_control_that_asks_no_checker_needs_none(plan: Callable[..., Plan], demo: str, sets: list[str]) -> None:
    text = demo.replace("credit.vote: [union, majority]", "train.learning_rate: [0.1, 0.2]")
    found = plan(text.replace("vote=union", "learning_rate=0.1"), sets=[*sets, "benchmark=gsm8k"])
    assert len(found.trials) == 4


@pytest.mark.parametrize(
    "dead",
    [
        "{sign: '*', operands: [0], error: 1}",
        "{sign: '-', operands: [-3], error: 1}",
        "{sign: '-', crosses: 10, error: 1}",
        "{sign: '+', error: 100}",
    ],
)
def test_a_misconception_that_no_pupil_ever_follows_is_refused_beside_others_too(
    errors: Many, demo: str, dead: str
) -> None:
    rules = f"cold_start: {{misconceptions: [{{sign: '+', crosses: 10, error: -1}}, {dead}]}}"
    first, *_ = errors(demo.replace("credit: {critiques: 4}", rules))
    sign = dead.split("'")[1]
    assert str(first) == (
        f"study.yaml:7: variant 'vote=union': cold_start.misconceptions[1], about {sign!r}, is followed in no step of "
        "the lessons; mend operands, crosses (of sums alone) or error (totals stay within 0 to 15), or remove it"
    )


@pytest.mark.parametrize(
    ("unit", "limit", "least"), [("train_flops", "1.0e-300", "1"), ("seconds", "1.0e-310", "1e-06")]
)
def test_a_budget_of_which_a_step_is_no_finite_share_is_refused(
    errors: Many, demo: str, unit: str, limit: str, least: str
) -> None:
    text = demo.replace("credit: {critiques: 4}", f"train: {{budget: {{{unit}: {limit}}}}}")
    first, *_ = errors(text)
    assert str(first) == (
        f"study.yaml:7: variant 'vote=union': train.budget.{unit} is {float(limit):g} but any step spends more than "
        f"{least}; set it to {least} or more: training always takes one step"
    )

"""Variants: product of the matrix × rows of the zip, minus exclude, plus include; each under a short, unique name."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capo_bench.study.expand import Sources, build_drafts
from capo_bench.study.keys import list_dotted_keys, remove_value, set_value
from capo_bench.study.plan import Plan
from capo_bench.study.spec import Sweep
from capo_bench.study.yamlfile import Document
from trainers.config import TrialConfig

Load = Callable[..., Plan]
NOWHERE = Sources(Document("s.yaml", {}, {}), {})


def names(sweep: Sweep) -> list[str]:
    return [draft.name for draft in build_drafts(sweep, NOWHERE)]


def test_every_combination_in_the_order_of_the_file() -> None:
    sweep = Sweep(matrix={"credit.vote": ["union", "majority"], "credit.critiques": [2, 4]})
    assert names(sweep) == [
        "vote=union,critiques=2",
        "vote=union,critiques=4",
        "vote=majority,critiques=2",
        "vote=majority,critiques=4",
    ]


def test_zipped_values_go_together_and_meet_every_row_of_the_matrix() -> None:
    sweep = Sweep(
        matrix={"credit.vote": ["union", "majority"]},
        zip={"train.steps": [10, 20], "train.learning_rate": [2e-4, 1e-4]},
    )
    assert names(sweep) == [
        "vote=union,steps=10,learning_rate=0.0002",
        "vote=union,steps=20,learning_rate=0.0001",
        "vote=majority,steps=10,learning_rate=0.0002",
        "vote=majority,steps=20,learning_rate=0.0001",
    ]


def test_zip_alone() -> None:
    assert names(Sweep(zip={"train.steps": [1, 2], "credit.critiques": [3, 4]})) == [
        "steps=1,critiques=3",
        "steps=2,critiques=4",
    ]


def test_exclude_takes_combinations_that_have_all_its_values() -> None:
    sweep = Sweep(
        matrix={"credit.vote": ["union", "majority"], "credit.critiques": [2, 4]},
        exclude=[{"credit.vote": "union", "credit.critiques": 4}, {"credit.critiques": 2, "credit.vote": "majority"}],
    )
    assert names(sweep) == ["vote=union,critiques=2", "vote=majority,critiques=4"]


def test_exclude_by_one_key_takes_a_whole_row() -> None:
    sweep = Sweep(
        matrix={"credit.vote": ["union", "majority"], "credit.critiques": [2, 4]}, exclude=[{"credit.critiques": 2}]
    )
    assert names(sweep) == ["vote=union,critiques=4", "vote=majority,critiques=4"]


def test_include_adds_variants_beside_the_matrix() -> None:
    sweep = Sweep.model_validate(
        {"matrix": {"credit.vote": ["union"]}, "include": [{"name": "no critic", "set": {"method": "grpo_rule"}}]}
    )
    assert names(sweep) == ["vote=union", "no critic"]
    assert build_drafts(sweep, NOWHERE)[1].overrides == {"method": "grpo_rule"}


def test_include_without_a_matrix_stands_alone() -> None:
    assert names(Sweep.model_validate({"include": [{"name": "a"}, {"name": "b"}]})) == ["a", "b"]


def test_nothing_varied_is_the_base() -> None:
    assert names(Sweep()) == ["base"]


@pytest.mark.parametrize(
    ("key", "value", "name"),
    [
        ("credit.vote", "union", "vote=union"),
        ("credit.w_process", 0.5, "w_process=0.5"),
        ("train.learning_rate", 1e-6, "learning_rate=1e-06"),
        ("cold_start", None, "cold_start=null"),
        ("cold_start.operations", [2, 6], "operations=[2,6]"),
        ("critic", {"name": "exact"}, "critic=exact"),
        ("critic", {"name": "noisy", "miss": 0.3, "false_alarm": 0.1}, "critic=noisy(false_alarm=0.1,miss=0.3)"),
        ("train", {"steps": 3}, "train=(steps=3)"),
        ("credit.vote", True, "vote=true"),
    ],
)
def test_a_name_says_what_was_swept(key: str, value: object, name: str) -> None:
    assert names(Sweep(matrix={key: [value]})) == [name]


def test_a_key_whose_last_part_is_not_enough_is_named_in_full() -> None:
    sweep = Sweep(matrix={"train.steps": [1], "cold_start.steps": [2], "credit.vote": ["union"]})
    assert names(sweep) == ["train.steps=1,cold_start.steps=2,vote=union"]


def test_a_swept_seed_is_not_mistaken_for_the_trials() -> None:
    assert names(Sweep(matrix={"cold_start.seed": [1]})) == ["cold_start.seed=1"]


AXES = st.dictionaries(
    st.sampled_from(["train.steps", "credit.critiques", "cold_start.steps", "evaluation.samples"]),
    st.lists(st.integers(1, 9), min_size=1, max_size=4, unique=True),
    min_size=1,
    max_size=4,
)


@given(AXES)
def test_names_are_unique_and_as_many_as_the_product(axes: dict[str, list[int]]) -> None:
    found = names(Sweep(matrix=axes))
    size = 1
    for values in axes.values():
        size *= len(values)
    assert len(found) == len(set(found)) == size


@given(AXES)
def test_zip_of_one_key_is_matrix_of_one_key(axes: dict[str, list[int]]) -> None:
    key, values = next(iter(axes.items()))
    assert names(Sweep(matrix={key: values})) == names(Sweep(zip={key: values}))


def test_an_override_replaces_the_value_at_its_key(plan: Load, demo: str) -> None:
    # The base's critic is noisy with miss 0.1; a critic given whole keeps nothing of it, one parameter keeps the rest.
    text = demo.replace("{name: noisy}", "{name: noisy, false_alarm: 0.2, miss: 0.1}")
    text += "include:\n  - {name: whole, set: {critic: {name: noisy, miss: 0.4}}}\n"
    text += "  - {name: part, set: {critic.miss: 0.4}}\n"
    whole, part = (plan(text).variant(name).config.critic for name in ("whole", "part"))
    assert whole.model_dump() == {"name": "noisy", "false_alarm": 0.3, "miss": 0.4}
    assert part.model_dump() == {"name": "noisy", "false_alarm": 0.2, "miss": 0.4}


def test_a_section_is_set_before_what_is_in_it(plan: Load, demo: str) -> None:
    sets = "{critic.miss: 0.4, critic: {name: noisy, miss: 0.1, false_alarm: 0.1}}"
    config = plan(f"{demo}include:\n  - {{name: both, set: {sets}}}\n").variant("both").config
    assert config.critic.model_dump() == {"name": "noisy", "false_alarm": 0.1, "miss": 0.4}


def test_what_lies_between_is_made(plan: Load, demo: str) -> None:
    text = demo.replace("base:\n", "base:\n  backbone: qwen2.5-1.5b\n  cold_start: null\n")
    text += "include: [{name: started, set: {backbone: tiny, cold_start.steps: 7}}]\n"
    loaded = plan(text)
    assert loaded.variant("vote=union").config.cold_start is None
    started = loaded.variant("started").config.cold_start
    assert started is not None
    assert started.steps == 7


def test_dotted_keys_are_all_sections_and_fields() -> None:
    keys = list_dotted_keys(TrialConfig)
    assert {"method", "cold_start", "cold_start.steps", "critic", "critic.name", "critic.miss", "credit.vote"} <= {
        *keys
    }
    assert not {"vote", "credit.miss", ""} & {*keys}


KEYS = st.lists(st.sampled_from("abc"), min_size=1, max_size=3)


@given(st.dictionaries(st.sampled_from("abc"), st.integers()), KEYS, st.integers())
def test_with_value_changes_that_place_alone_and_not_its_argument(
    tree: dict[str, int], parts: list[str], value: int
) -> None:
    before = dict(tree)
    after = set_value(tree, parts, value)
    found = after
    for part in parts:
        found = found[part]
    assert found == value
    assert tree == before
    assert {key: item for key, item in after.items() if key != parts[0]} == {
        key: item for key, item in before.items() if key != parts[0]
    }


@pytest.mark.parametrize(
    ("tree", "path", "left"),
    [
        ({"a": 1, "b": 2}, ("a",), {"b": 2}),
        ({"a": {"b": 1, "c": 2}}, ("a", "b"), {"a": {"c": 2}}),
        ({"a": [1, 2, 3]}, ("a", 1), {"a": [1, 3]}),
        ({"a": [1, {"b": 2}]}, ("a", 1, "b"), {"a": [1, {}]}),
        ({"a": 1}, ("x", "y"), {"a": 1}),
        ({"a": 1}, ("a", "y"), {"a": 1}),
        ([1], (4,), [1]),
    ],
)
def test_without_removes_what_is_there(tree: object, path: tuple[str | int, ...], left: object) -> None:
    assert remove_value(tree, path) == left

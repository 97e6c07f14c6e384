"""The plan of every shipped study, as it was when somebody last looked at it.

After a change that is meant, write the files anew and read the difference before it is committed:
    CAPO_BENCH_REFRESH=1 python -m pytest tests/capo_bench/study/test_expected.py
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from capo_bench.study.estimate import estimate
from capo_bench.study.load import check_study, list_shipped_studies
from capo_bench.study.plan import Plan
from capo_bench.study.summary import plan_outline

FOLDER = Path(__file__).parents[2] / "expected"
PLANS = {f"{name}.{plan.profile}": plan for name in list_shipped_studies() for plan in check_study(name)}
REFRESH = bool(os.environ.get("CAPO_BENCH_REFRESH"))


@pytest.mark.parametrize("name", PLANS)
def test_the_plan_is_as_expected(name: str) -> None:
    file, text = FOLDER / f"{name}.json", outline(PLANS[name])
    if REFRESH:
        file.write_text(text, encoding="utf-8")
    assert file.exists(), f"{file} is missing; {__doc__}"
    assert file.read_text(encoding="utf-8") == text, f"the plan changed; {__doc__}"


@pytest.mark.parametrize("name", list_shipped_studies())
def test_the_quick_profile_takes_ten_minutes_at_most_from_nothing_on_two_cores(name: str) -> None:
    taken = estimate(PLANS[f"{name}.quick"])
    assert taken.unknown == 0
    assert taken.wall_seconds(workers=2) <= 600


def test_no_file_is_left_of_a_study_that_is_gone() -> None:
    for file in FOLDER.glob("*.json"):
        if REFRESH and file.stem not in PLANS:
            file.unlink()
    assert {file.stem for file in FOLDER.glob("*.json")} <= {*PLANS}


def outline(plan: Plan) -> str:
    """Return a plan as text: the settings that all variants share once, then what each variant has of its own."""
    data = plan_outline(plan)
    configs = [leaves(variant["config"]) for variant in data["variants"]]
    shared = {key: value for key, value in configs[0].items() if all(each.get(key) == value for each in configs)}
    for variant, config in zip(data["variants"], configs, strict=True):
        variant["config"] = {key: value for key, value in config.items() if key not in shared}
    return json.dumps({**data, "shared": shared}, indent=1, ensure_ascii=False) + "\n"


def leaves(tree: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Return dotted keys of settings and their values as JSON."""
    found: dict[str, str] = {}
    for key, value in tree.items():
        below = leaves(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {}
        found |= below or {prefix + key: json.dumps(value, ensure_ascii=False)}
    return found

"""Parts come by name, late, and from other packages without a fork."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from evals.registry import Registry, UnknownNameError, suggest_similar

ROOT = Path(__file__).parents[2]


def install(folder, name, points, **modules):
    """Lay out an installed package: its modules, and the metadata that names its entry points."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(textwrap.dedent(points))
    for module, code in modules.items():
        (folder / f"{module}.py").write_text(textwrap.dedent(code))


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def run(code, *folders):
    """Run code in a fresh process that sees the repository and `folders`."""
    path = os.pathsep.join(map(str, [*folders, ROOT]))
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
        cwd=folders[0] if folders else ROOT,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def colours(**builtin):
    return Registry("colour", "test.colours", builtin)


def test_nothing_is_imported_until_a_part_is_asked_for(site):
    (site / "lazy_part.py").write_text("part = 7\n")
    table = colours(red="lazy_part:part")
    assert table.names() == ["red"]
    assert table.check("red") == "red"
    assert table.target("red") == "lazy_part:part"
    assert "lazy_part" not in sys.modules
    assert table.get("red") == 7
    assert "lazy_part" in sys.modules
    del sys.modules["lazy_part"]


def test_a_part_may_lie_within_a_class():
    assert colours(join="os:path.join").get("join") is os.path.join


def test_an_unknown_name_lists_the_known_ones_and_the_nearest():
    table = colours(red="a:b", green="a:b")
    with pytest.raises(UnknownNameError) as caught:
        table.get("gren")
    assert str(caught.value) == "unknown colour 'gren' (did you mean 'green'?); known: red, green"
    with pytest.raises(UnknownNameError, match=r"^unknown colour 'blue'; known: red, green$"):
        table.target("blue")
    assert issubclass(UnknownNameError, ValueError)  # so that a study's validation reports it


def test_a_suggestion_is_made_only_when_it_is_near():
    assert suggest_similar("intersecton", ["union", "intersection"]) == " (did you mean 'intersection'?)"
    assert suggest_similar("zzz", ["union", "intersection"]) == ""
    assert suggest_similar("x", []) == ""


def test_a_part_of_another_package_is_found(site):
    install(site, "paints", "[test.colours]\nblue = paints:BLUE\n", paints="BLUE = 'blue'\n")
    table = colours(red="a:b")
    assert table.names() == ["red", "blue"]
    assert table.get("blue") == "blue"


def test_an_entry_point_of_another_kind_is_none_of_ours(site):
    install(site, "tastes", "[test.tastes]\nsweet = tastes:SWEET\n")
    assert colours().names() == []


def test_extras_of_an_entry_point_are_not_part_of_the_name(site):
    install(site, "paints2", "[test.colours]\nblue = paints2:BLUE [fancy]\n", paints2="BLUE = 'blue'\n")
    assert colours().get("blue") == "blue"


def test_a_package_cannot_replace_a_part_that_ships(site):
    install(site, "rogue", "[test.colours]\nred = rogue:RED\n")
    with pytest.raises(ValueError, match="two parts claim the colour name 'red': ours:RED and rogue:RED; uninstall"):
        colours(red="ours:RED").names()


def test_two_packages_cannot_claim_one_name(site):
    install(site, "one", "[test.colours]\nblue = one:BLUE\n")
    install(site, "two", "[test.colours]\nblue = two:BLUE\n")
    with pytest.raises(ValueError, match="'blue'") as caught:
        colours().names()
    assert "one:BLUE" in str(caught.value)
    assert "two:BLUE" in str(caught.value)


def test_the_same_part_twice_is_no_collision(site):
    install(site, "again", "[test.colours]\nred = ours:RED\n")
    assert colours(red="ours:RED").names() == ["red"]


@pytest.mark.parametrize(
    ("target", "reason"),
    [("no_such_module:x", "no_such_module"), ("os:no_such_name", "no_such_name"), ("needs_extra:x", "gone_library")],
)
def test_a_part_that_cannot_be_imported_is_named(site, target, reason):
    (site / "needs_extra.py").write_text("import gone_library\n")
    with pytest.raises(ImportError, match=rf"the colour 'red' is registered as {target}.*{reason}.*; install"):
        colours(red=target).get("red")


def test_other_packages_add_a_voting_rule_a_segmenter_and_a_critic_without_a_fork(tmp_path):
    points = """
        [capo_bench.votes]
        first_two = extension:FIRST_TWO
        [capo_bench.segmenters]
        commas = extension:commas
        [capo_bench.critics]
        strict = extension:StrictParams
    """
    code = """
        from typing import Literal

        import numpy as np

        from trainers.credit.critique import Critique
        from trainers.credit.segment import cut_spans
        from trainers.credit.votes import VotingRule
        from trainers.critics.base import CriticParams

        FIRST_TWO = VotingRule(lambda flags, number: flags[:2].any(axis=0).astype(float))

        def commas(text):
            return cut_spans(text, (i + 1 for i, sign in enumerate(text) if sign == ","))

        class Strict:
            def __init__(self, limit):
                self.limit = limit
            async def critique(self, solutions, k, *, greedy=False):
                return [[Critique(frozenset(range(len(s.steps))[self.limit:]))] * k for s in solutions]
            async def close(self):
                pass

        class StrictParams(CriticParams):
            name: Literal["strict"] = "strict"
            limit: int = 2
            def build(self, benchmark, seed):
                return Strict(self.limit)
    """
    install(tmp_path, "extension", points, extension=code)
    said = run(
        """
        import asyncio
        import numpy as np
        from pydantic import ValidationError
        from trainers.config import TrialConfig
        from trainers.credit.segment import SEGMENTERS
        from trainers.credit.votes import VOTES
        from trainers.critics.base import Solution

        config = TrialConfig.model_validate(
            {"credit": {"vote": "first_two", "segmenter": "commas"}, "critic": {"name": "strict", "limit": 1}}
        )
        flags = np.array([[True, False], [False, False], [True, True]])
        print(VOTES.get(config.credit.vote).shares(flags, None).tolist())
        print(SEGMENTERS.get(config.credit.segmenter)("a,b,c"))
        critic = config.critic.build(None, 0)
        print([sorted(c.wrong) for c in asyncio.run(critic.critique([Solution(None, ("a", "b", "c"))], 2))[0]])
        print(TrialConfig.model_validate(config.model_dump(mode="json")) == config)
        try:
            TrialConfig.model_validate({"critic": {"name": "strict", "limt": 1}})
        except ValidationError as error:
            print("refused", error.errors()[0]["loc"])
        """,
        tmp_path,
    )
    assert said.splitlines() == [
        "[1.0, 0.0]",
        "[(0, 2), (2, 4), (4, 5)]",
        "[[1, 2], [1, 2]]",
        "True",
        "refused ('critic', 'strict', 'limt')",
    ]


def test_listing_names_imports_no_part():
    heavy = "('evals.coins', 'torch', 'transformers', 'trl')"
    said = run(f"""
        import sys
        from evals.benchmarks import BENCHMARKS
        from trainers.methods import METHODS
        BENCHMARKS.names(), METHODS.names(), METHODS.get('capo')
        print([name for name in {heavy} if name in sys.modules])
    """)
    assert said == "[]"

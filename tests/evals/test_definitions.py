"""What a definition rests on: all that it reaches and nothing beside it, whatever it is called, wherever it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from evals.definitions import DefinitionError, Definitions, find_closure
from evals.sources import Modules

# A package in which `rule` reaches something in every way that there is, and `other` does not.
ACME = {
    "acme/__init__.py": "from acme.rules import rule as rule, other\n",
    "acme/rules.py": '''
"""Rules."""
import acme.tools as tools
from acme import far
from acme.near import *
from acme.near import helper as _helped

_LIMIT = 3
TABLE = {}
TABLE["a"] = 1

def rule(flags, at_least=None):
    """Vote."""
    from acme.late import late
    if at_least is None:
        return _inner(flags) + tools.measure(flags) + late(flags)
    return [_helped(flag) for flag in flags] + starred(flags) + far.away.deep(flags) + TABLE["a"] + Kind().method()

def _inner(flags):
    return flags[:_LIMIT]

class Kind:
    step = "acme.named:by_text"

    def method(self):
        return self.step

def other(flags):
    return far.unused(flags)
''',
    "acme/near.py": """
def helper(flag):
    return again(flag)

def again(flag):
    return helper(flag - 1) if flag else 0

def starred(flags):
    return flags
""",
    "acme/tools.py": "SCALE = 2.0\n\ndef measure(flags):\n    return len(flags) * SCALE\n",
    "acme/late.py": "def late(flags):\n    return 1\n",
    "acme/far/__init__.py": "def unused(flags):\n    return 0\n",
    "acme/far/away.py": "def deep(flags):\n    return 2\n",
    "acme/named.py": "def by_text():\n    return 3\n",
}  # fmt: skip


@pytest.fixture
def acme(tmp_path: Path) -> Path:
    for name, text in ACME.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def hash_of(folder: Path, target: str = "acme.rules:rule") -> str:
    return Definitions(Modules(folder)).closure(target).hash


def edit(folder: Path, name: str, old: str, new: str) -> None:
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new))


def test_everything_that_is_reached_is_named(acme: Path) -> None:
    found = Definitions(Modules(acme)).closure("acme.rules:rule").definitions
    assert {*found} == {
        *("acme.rules:rule", "acme.rules:_inner", "acme.rules:_LIMIT", "acme.rules:TABLE", "acme.rules:Kind"),
        *("acme.near:helper", "acme.near:again", "acme.near:starred", "acme.tools:measure", "acme.tools:SCALE"),
        *("acme.late:late", "acme.far.away:deep", "acme.named:by_text"),
    }


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("acme/rules.py", "_LIMIT = 3", "_LIMIT = 4"),
        ("acme/rules.py", 'TABLE["a"] = 1', 'TABLE["a"] = 2'),
        ("acme/rules.py", "at_least=None", "at_least=1"),
        ("acme/rules.py", "_inner(flags) + tools", "_inner(flags) - tools"),
        ("acme/rules.py", '"acme.named:by_text"', '"acme.late:late"'),
        ("acme/near.py", "flag - 1", "flag - 2"),
        ("acme/near.py", "return flags", "return flags[1:]"),
        ("acme/tools.py", "2.0", "2.5"),
        ("acme/late.py", "1", "2"),
        ("acme/far/away.py", "2", "4"),
        ("acme/named.py", "3", "4"),
        ("acme/tools.py", "SCALE = 2.0", "SCALE = 2.0\nprint(SCALE)"),
    ],
)
def test_a_change_of_anything_that_is_reached_shows(acme: Path, name: str, old: str, new: str) -> None:
    before = hash_of(acme)
    edit(acme, name, old, new)
    assert hash_of(acme) != before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("acme/rules.py", "    return far.unused(flags)", "    return 7"),  # a sibling
        ("acme/far/__init__.py", "return 0", "return 1"),
        ("acme/rules.py", '"""Vote."""', '"""Another text."""'),
        ("acme/rules.py", "    if at_least", "    # why\n\n    if at_least"),
        ("acme/rules.py", "_inner", "_renamed"),
        ("acme/rules.py", "_LIMIT", "_MOST"),
        ("acme/rules.py", "tools", "instruments"),  # what an import is called here
        ("acme/rules.py", "_helped", "_aided"),
        (
            "acme/rules.py",
            "def rule(flags, at_least=None)",
            "def rule(flags: list, at_least: int | None = None) -> int",
        ),
        ("acme/rules.py", "Kind", "_Sort"),
    ],
)
def test_what_is_not_reached_names_and_layout_do_not_matter(acme: Path, name: str, old: str, new: str) -> None:
    before = hash_of(acme)
    if new == "instruments":
        edit(acme, name, "import acme.tools as tools", "import acme.tools as instruments")
        edit(acme, name, "tools.measure", "instruments.measure")
    else:
        edit(acme, name, old, new)
    assert hash_of(acme) == before


def test_a_definition_may_move_to_another_module(acme: Path) -> None:
    before = hash_of(acme)
    edit(acme, "acme/tools.py", "SCALE = 2.0\n", "from acme.scales import SCALE\n")
    (acme / "acme" / "scales.py").write_text("SCALE = 2.0\n")
    (acme / "acme" / "near.py").rename(acme / "acme" / "close.py")
    edit(acme, "acme/rules.py", "acme.near", "acme.close")
    assert hash_of(acme) == before


def test_a_name_behind_a_re_export_is_the_definition(acme: Path) -> None:
    assert hash_of(acme, "acme:rule") == hash_of(acme)


def test_definitions_that_reach_each_other_count_together(acme: Path) -> None:
    helper, again = (hash_of(acme, f"acme.near:{name}") for name in ("helper", "again"))
    assert helper != again
    edit(acme, "acme/near.py", "if flag else 0", "if flag else 1")
    assert {helper, again}.isdisjoint({hash_of(acme, f"acme.near:{name}") for name in ("helper", "again")})


def test_a_name_of_a_function_hides_that_of_the_module(acme: Path) -> None:
    (acme / "acme" / "names.py").write_text(
        "x = 1\n\ndef hidden(x):\n    return [x for x in range(x)] + [(lambda x: x)(0)]\n\n"
        "class C:\n    x = 5\n\n    def f(self):\n        return x\n\ndef seen():\n    return [x for y in [1]]\n"
    )
    reached = {
        name: {*Definitions(Modules(acme)).closure(f"acme.names:{name}").definitions}
        for name in ("hidden", "C", "seen")
    }
    assert "acme.names:x" not in reached["hidden"]
    assert "acme.names:x" in reached["C"] & reached["seen"]


def test_a_module_that_is_handed_on_is_all_that_it_defines(acme: Path) -> None:
    (acme / "acme" / "all.py").write_text(
        "from acme import tools\n\ndef named(name):\n    return getattr(tools, name)\n"
    )
    assert "acme.tools:SCALE" in Definitions(Modules(acme)).closure("acme.all:named").definitions


def test_what_is_imported_for_types_alone_is_not_followed(acme: Path) -> None:
    (acme / "acme" / "typed.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from acme.tools import measure\n\n"
        "def f(x: 'measure'):\n    y: measure = x\n    return y\n"
    )
    assert {*Definitions(Modules(acme)).closure("acme.typed:f").definitions} == {"acme.typed:f"}


def test_a_table_of_parts_stands_for_itself(acme: Path) -> None:
    text = (
        "from evals.registry import Registry\n\nTABLE = Registry('rule', 'acme.rules', {'a': 'acme.late:late'})\n\n"
        "def chosen(name):\n    return TABLE.get(name)()\n"
    )
    (acme / "acme" / "table.py").write_text(text)
    before = hash_of(acme, "acme.table:chosen")
    (acme / "acme" / "table.py").write_text(
        text.replace("'acme.late:late'}", "'acme.late:late', 'b': 'acme.named:by_text'}")
    )
    assert hash_of(acme, "acme.table:chosen") == before


def test_a_package_that_only_a_plug_in_names_counts_by_its_version(acme: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (acme / "acme" / "uses.py").write_text(
        "import pytest\nimport numpy\n\ndef f():\n    return pytest.approx, numpy.sum\n"
    )
    monkeypatch.setattr("evals.sources._list_required", lambda: frozenset({"numpy"}))
    before = hash_of(acme, "acme.uses:f")
    monkeypatch.setattr("evals.sources.version", lambda name: f"another version of {name}")
    assert hash_of(acme, "acme.uses:f") != before
    monkeypatch.setattr("evals.sources._list_required", lambda: frozenset({"numpy", "pytest"}))
    ours = hash_of(acme, "acme.uses:f")
    monkeypatch.setattr("evals.sources.version", lambda name: f"a third version of {name}")
    assert hash_of(acme, "acme.uses:f") == ours


def test_a_compiled_helper_is_known_by_its_bytes(acme: Path) -> None:
    edit(acme, "acme/late.py", "def late(flags):\n    return 1\n", "from acme._fast import late\n")
    fast = acme / "acme" / "_fast.so"
    fast.write_bytes(b"one")
    before = hash_of(acme)
    fast.write_bytes(b"two")
    assert hash_of(acme) != before


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("__main__:rule", r"__main__:rule is defined in a script or a notebook.*; move it into a module"),
        ("acme.fast:rule", r"acme.fast:rule has no source code \(fast.so of acme.fast is there\).*; install"),
        ("acme.gone:rule", r"acme.gone:rule has no source code \(no file of acme.gone is there\).*; install"),
        ("acme.rules:absent", r"acme.rules:absent: .*rules.py does not define 'absent'.*; define it by that name"),
        ("acme.broken:rule", r"acme.broken:rule depends on .*broken.py:1, which is no Python: .*; correct it"),
        ("acme.null:rule", r"acme.null:rule depends on .*null.py:1, which is no Python: .*; correct it"),
        ("acme.sum:rule", r"acme.sum:rule depends on an expression that is nested too deeply to be read; shorten it"),
        (
            "acme.long:rule",
            r"acme.long:rule depends on an expression that is nested too deeply to be read; shorten it",
        ),
    ],
)
def test_a_part_that_cannot_be_read_is_an_error_with_a_way_out(acme: Path, target: str, told: str) -> None:
    (acme / "acme" / "fast.so").write_bytes(b"")
    (acme / "acme" / "broken.py").write_text("def rule(:\n")
    (acme / "acme" / "null.py").write_text("def rule(): pass\n\0")
    (acme / "acme" / "sum.py").write_text(f"rule = {'+'.join(['1'] * 800)}\n")
    (acme / "acme" / "long.py").write_text(f"rule = {'+'.join(['1'] * 9000)}\n")
    with pytest.raises(DefinitionError, match=told):
        Definitions(Modules(acme)).closure(target)


def test_our_own_sources_are_found() -> None:
    assert {*find_closure("trainers.credit.votes:majority").definitions} == {"trainers.credit.votes:majority"}


# -- what a plug-in may do that ours do not: modules, an edit, and whether `acme.r:rule` is another by it

FALLBACK = {
    "acme/r.py": "try:\n    from acme.fast import share\nexcept ImportError:\n    from acme.slow import share\n"
    "def rule(flags): return share(flags)\n",
    "acme/fast.py": "def share(flags): return 1\n",
    "acme/slow.py": "def share(flags): return 2\n",
}
LOCAL = {
    **FALLBACK,
    "acme/r.py": "def rule(flags):\n    try:\n        from acme.fast import share\n    except ImportError:\n"
    "        from acme.slow import share\n    return share(flags)\n",
}
ENTERED = "\n@enters('a')\ndef _a(flags): return 1\ndef rule(flags): return TABLE['a'](flags)\n"
ENTERS = "TABLE = {}\ndef enters(name):\n    def add(f):\n        TABLE[name] = f\n        return f\n    return add\n"
USES_T = "from acme.t import T\ndef rule(flags): return T\n"
READS = (
    "import json\nfrom pathlib import Path\nT = json.loads((Path(__file__).parent{}).read_text())\n"
    "def rule(flags): return T\n"
)
SEEN: dict[str, tuple[dict[str, str], str, str, str]] = {
    "the first of two imports": (FALLBACK, "acme/fast.py", "1", "3"),
    "the import that stands in": (FALLBACK, "acme/slow.py", "2", "3"),
    "the first of two imports in a function": (LOCAL, "acme/fast.py", "1", "3"),
    "the import in a function that stands in": (LOCAL, "acme/slow.py", "2", "3"),
    "a function that stands in for an import": (
        {
            **FALLBACK,
            "acme/r.py": FALLBACK["acme/r.py"].replace("from acme.slow import share", "def share(flags): return 2"),
        },
        "acme/r.py",
        "return 2",
        "return 3",
    ),
    "what a branch holds": (
        {"acme/r.py": "FAST = True\nif FAST:\n    T = 3\nelse:\n    T = 4\ndef rule(flags): return T\n"},
        "acme/r.py",
        "else:\n    T",
        "T",
    ),
    "an import under a with": (
        {
            "acme/r.py": "from contextlib import suppress\n"
            "with suppress(ValueError):\n    from acme.slow import share\n"
            "def rule(flags): return share(flags)\n",
            "acme/slow.py": FALLBACK["acme/slow.py"],
        },
        "acme/slow.py",
        "2",
        "3",
    ),
    "a name that a with binds": (
        {"acme/t.py": "with open('x') as f:\n    T = f.read()\n", "acme/r.py": USES_T},
        "acme/t.py",
        "read",
        "readline",
    ),
    "a name that a loop binds": (
        {"acme/t.py": "for T in range(3): pass\n", "acme/r.py": USES_T},
        "acme/t.py",
        "3",
        "4",
    ),
    "a name that an expression binds": (
        {"acme/t.py": "print(T := 1)\n", "acme/r.py": USES_T},
        "acme/t.py",
        "T := 1",
        "T := 2",
    ),
    "a name that a match binds": (
        {"acme/t.py": "match 3:\n    case T: T += 1\n", "acme/r.py": USES_T},
        "acme/t.py",
        "1",
        "2",
    ),
    "the last of two stars": (
        {
            "acme/r.py": "from acme.fast import *\nfrom acme.slow import *\ndef rule(flags): return share(flags)\n",
            "acme/fast.py": FALLBACK["acme/fast.py"],
            "acme/slow.py": FALLBACK["acme/slow.py"],
        },
        "acme/slow.py",
        "2",
        "3",
    ),
    "stars in a circle": (
        {
            "acme/__init__.py": "from acme.r import *\n",
            "acme/r.py": "from acme import *\ndef rule(flags): return len(flags) + 1\n",
        },
        "acme/r.py",
        "1",
        "2",
    ),
    "a module that its package imports": (
        {
            "acme/__init__.py": "from . import slow\n",
            "acme/slow.py": FALLBACK["acme/slow.py"],
            "acme/r.py": "from acme import slow\ndef rule(flags): return slow.share(flags)\n",
        },
        "acme/slow.py",
        "2",
        "3",
    ),
    "what a decorator enters": ({"acme/r.py": ENTERS + ENTERED}, "acme/r.py", "return 1", "return 2"),
    "what a decorator enters elsewhere": (
        {"acme/t.py": ENTERS, "acme/r.py": "from acme.t import TABLE, enters\n" + ENTERED},
        "acme/r.py",
        "return 1",
        "return 2",
    ),
    "what a decorator of a module enters": (
        {
            "acme/t.py": ENTERS,
            "acme/r.py": "from acme import t\nfrom acme.t import TABLE\n" + ENTERED.replace("@enters", "@t.enters"),
        },
        "acme/r.py",
        "return 1",
        "return 2",
    ),
    "what a method enters": (
        {
            "acme/r.py": "class Table(dict):\n    def enter(self, f):\n        self['a'] = f\n        return f\n"
            "TABLE = Table()\n" + ENTERED.replace("@enters('a')", "@TABLE.enter"),
        },
        "acme/r.py",
        "return 1",
        "return 2",
    ),
    "a function for another type": (
        {
            "acme/r.py": "from functools import singledispatch\n@singledispatch\ndef rule(flags): return 0\n"
            "@rule.register\ndef _(flags: list): return 1\n",
        },
        "acme/r.py",
        "return 1",
        "return 2",
    ),
    "a file of data": ({"acme/r.py": READS.format(" / 't.json'"), "acme/t.json": "1"}, "acme/t.json", "1", "2"),
    "a file of data in a folder": (
        {"acme/r.py": READS.format(" / 'data' / 't.json'"), "acme/data/t.json": "1"},
        "acme/data/t.json",
        "1",
        "2",
    ),
    "what a module handed on takes from another": (
        {
            "acme/slow.py": FALLBACK["acme/slow.py"],
            "acme/t.py": "from acme.slow import share\n",
            "acme/r.py": "from acme import t\ndef rule(flags): return getattr(t, 'share')(flags)\n",
        },
        "acme/slow.py",
        "2",
        "3",
    ),
}
UNSEEN = {
    "a decorator that enters nothing": (
        {
            "acme/r.py": "def timed(f):\n    return f\n"
            "@timed\ndef other(flags): return 1\n@timed\ndef rule(flags): return 2\n",
        },
        "acme/r.py",
        "return 1",
        "return 3",
    ),
    "a decorated sibling that only the table names": (
        {"acme/r.py": ENTERS + ENTERED.replace("TABLE['a'](flags)", "2")},
        "acme/r.py",
        "return 1",
        "return 3",
    ),
    "another file of data": (
        {"acme/r.py": READS.format(" / 't.json'"), "acme/t.json": "1", "acme/u.json": "1"},
        "acme/u.json",
        "1",
        "2",
    ),
}


@pytest.mark.parametrize("name", [*SEEN, *UNSEEN])
def test_what_plug_ins_do_to_bind_a_name(name: str, tmp_path: Path) -> None:
    files, file, old, new = (SEEN | UNSEEN)[name]
    for each, text in {"acme/__init__.py": "", **files}.items():
        path = tmp_path / each
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    before = hash_of(tmp_path, "acme.r:rule")
    edit(tmp_path, file, old, new)
    assert (hash_of(tmp_path, "acme.r:rule") != before) == (name in SEEN)

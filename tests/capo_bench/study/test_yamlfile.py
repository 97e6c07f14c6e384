"""Reading YAML: plain values with lines; what a study has no use for is refused, with the line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from capo_bench.study import yamlfile
from capo_bench.study.errors import StudyErrors
from capo_bench.study.yamlfile import parse_document, read_document


def refused(text: str) -> list[str]:
    with pytest.raises(StudyErrors) as caught:
        parse_document(text, "s.yaml")
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 3", 3),
        ("a: -3", -3),
        ("a: 2e-4", 2e-4),  # YAML 1.1 reads this as text: a learning rate that silently is none
        ("a: .5", 0.5),
        ("a: 1.", 1.0),
        ("a: '3'", "3"),
        ("a: no", "no"),  # YAML 1.1 reads this as false
        ("a: 1:30", "1:30"),  # and this as 90
        ("a: 2024-01-01", "2024-01-01"),
        ("a: true", True),
        ("a: False", False),
        ("a: null", None),
        ("a: ~", None),
        ("a:", None),
        ("a: ''", ""),
        ("a: [1, [x], {b: 2}]", [1, ["x"], {"b": 2}]),
        ("a: {}", {}),
        ("a: >\n  one\n  two\n", "one two\n"),
        ("a: ünïcode", "ünïcode"),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: Any) -> None:
    found = parse_document(text, "s.yaml").tree["a"]
    assert found == value
    assert type(found) is type(value)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.text(st.characters(codec="ascii", categories="L")),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.from_regex("[a-z]{1,5}", fullmatch=True), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.from_regex("k[a-z]{0,5}", fullmatch=True), PLAIN, max_size=4))
def test_reads_back_what_yaml_writes(tree: dict[str, Any]) -> None:
    text = yaml.dump(tree, sort_keys=False, Dumper=_NoAliases)
    names = {key for key in _keys(tree) if parse_document(f"- {key}", "s").tree[0] != key}
    if not names:  # keys such as `null` and `true` are not text, see below
        assert parse_document(text, "s.yaml").tree == tree


class _NoAliases(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _keys(tree: Any) -> list[str]:
    if isinstance(tree, dict):
        return [*tree, *(key for value in tree.values() for key in _keys(value))]
    return [key for item in tree for key in _keys(item)] if isinstance(tree, list) else []


def test_every_key_and_item_has_its_line() -> None:
    document = parse_document("a: 1\nb:\n  c.d: 2\n  e:\n    - x\n    - f: 3\n", "s.yaml")
    assert document.lines == {
        (): 1,
        ("a",): 1,
        ("b",): 2,
        ("b", "c.d"): 3,
        ("b", "e"): 4,
        ("b", "e", 0): 5,
        ("b", "e", 1): 6,
        ("b", "e", 1, "f"): 6,
    }


def test_the_nearest_written_ancestor_stands_for_what_is_absent() -> None:
    document = parse_document("a: 1\nb:\n  c: 2\n", "s.yaml")
    assert str(document.place(("b", "missing", 4))) == "s.yaml:2"
    assert str(document.place(("missing",))) == "s.yaml:1"


def test_a_key_written_twice_names_both_lines() -> None:
    assert refused("a: 1\nb: 2\n\na: 3\n") == [
        "s.yaml:4: key 'a' is written twice: on line 1 and on line 4; keep one of them"
    ]


def test_keys_are_text() -> None:
    assert refused("1: a\ntrue: b\n[x]: c\n") == [
        "s.yaml:1: key 1 is not text; write keys as words, or quote it",
        "s.yaml:2: key True is not text; write keys as words, or quote it",
        "s.yaml:3: key ['x'] is not text; write keys as words, or quote it",
    ]


def test_a_bomb_is_refused_before_it_expands() -> None:
    layers = "".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]\n" for i in range(1, 30))
    found = refused("l0: &l0 boom\n" + layers)
    assert found[0] == ("s.yaml:1: anchor '&l0': anchors and aliases are not allowed in a study; write the value out")
    assert all("anchors and aliases are not allowed" in line for line in found)


def test_an_alias_loop_is_refused() -> None:
    assert refused("a: &x\n  b: *x\n") == [
        "s.yaml:1: anchor '&x': anchors and aliases are not allowed in a study; write the value out",
        "s.yaml:2: alias '*x': anchors and aliases are not allowed in a study; write the value out",
    ]


def test_merge_keys_are_keys_like_others() -> None:
    assert parse_document("a: {<<: {b: 1}}", "s.yaml").tree == {"a": {"<<": {"b": 1}}}


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system", "!!binary", "!mine", "!!str"])
def test_tags_are_refused(tag: str) -> None:
    (line,) = refused(f"a: 1\nb: {tag} x\n")
    assert line.startswith("s.yaml:2: tag ")
    assert "tags are not allowed" in line


def test_depth_is_bounded() -> None:
    assert refused("a: " + "[" * 100_000) == ["s.yaml:1: nested more than 32 deep; a study needs no such depth"]
    assert parse_document("a: " + "[" * 31 + "]" * 31, "s.yaml").tree


def test_a_number_with_an_exponent_may_be_as_large_as_a_float() -> None:
    assert parse_document("a: 6.0e19", "s.yaml").tree == {"a": 6.0e19}


@pytest.mark.parametrize("number", ["1e999", "-1e999", "9" * 5000, str(2**63)])
def test_numbers_that_no_machine_number_holds_are_refused(number: str) -> None:
    (line,) = refused(f"a: 1\nb: {number}")
    assert line.startswith("s.yaml:2: number ")
    assert line.endswith("is too large; write a number below 2^63, or quote it if it is text")


@pytest.mark.parametrize(
    ("text", "line"),
    [("a: [1\nb: 2\n", 2), ("a: 1\n b: 2\n", 2), ("a: 'x\n", 2), ("a: 1\n\tb: 2", 2), ("@", 1)],
)
def test_syntax_errors_name_the_line(text: str, line: int) -> None:
    (told,) = refused(text)
    assert told.startswith(f"s.yaml:{line}: not valid YAML: ")
    assert told.endswith("check indentation, brackets and quotes there")


def test_control_characters_are_refused() -> None:
    (told,) = refused("a: \x01")
    assert told.startswith("s.yaml: not valid YAML: ")


def test_one_document_a_file() -> None:
    assert refused("a: 1\n---\nb: 2\n") == ["s.yaml:2: a second document; keep one study a file"]


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse_document(text, "s.yaml")
    except StudyErrors as errors:
        assert errors.items


def file_error(path: Path) -> str:
    with pytest.raises(StudyErrors) as caught:
        read_document(path)
    return str(caught.value).replace(str(path), "s.yaml")


def test_a_folder_is_not_a_study(tmp_path: Path) -> None:
    assert file_error(tmp_path) == "s.yaml: a folder, where a study file is wanted; name a YAML file in it"


def test_a_missing_file(tmp_path: Path) -> None:
    assert file_error(tmp_path / "no").startswith("s.yaml: cannot be read: No such file or directory")


def test_a_pipe_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert file_error(tmp_path / "pipe") == "s.yaml: not a regular file; write the study to a file"


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n", "null"])
def test_an_empty_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "s").write_text(text)
    assert file_error(tmp_path / "s") == (
        "s.yaml: the file is empty; write a study; `capo-bench ls` names shipped ones"
    )


@pytest.mark.parametrize("text", ["- a\n- b\n", "just words", "3"])
def test_not_a_mapping(tmp_path: Path, text: str) -> None:
    (tmp_path / "s").write_text(text)
    told = file_error(tmp_path / "s")
    assert told.startswith("s.yaml:1: the file holds ")
    assert "a study is a mapping of keys; begin with keys such as 'name:'" in told


def test_not_utf_8(tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(b"a: 1\nb: \xff\n")
    assert file_error(tmp_path / "s") == "s.yaml:2: byte 0xff is not UTF-8; save the file as UTF-8"


def test_a_byte_order_mark_is_no_matter(tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read_document(tmp_path / "s").tree == {"a": 1}


def test_too_large(tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(b"#" * (yamlfile.MAX_BYTES + 1))
    assert file_error(tmp_path / "s") == (
        "s.yaml: larger than 1048576 bytes; a study is a few kilobytes: check the path"
    )


def test_no_permission(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("a: 1")
    (tmp_path / "s").chmod(0)
    if os.access(tmp_path / "s", os.R_OK):
        pytest.skip("this user reads every file")
    assert file_error(tmp_path / "s").startswith("s.yaml: cannot be read: Permission denied")

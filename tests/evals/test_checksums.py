"""Checksums beside what a stage left: a changed byte is noticed wherever it is read, and the file is named."""

from pathlib import Path

import pytest

from evals.checksums import SUMS, ChangedFileError, check_file, check_folder, read_listed, seal, unlist


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model" / "deep").mkdir(parents=True)
    (tmp_path / "model" / "deep" / "weights").write_bytes(b"0123")
    (tmp_path / "steps").write_bytes(b"one\n")
    (tmp_path / ".hidden").write_bytes(b"")
    seal(tmp_path, ["model", "steps", "absent"], {"last": b"end"})
    return tmp_path


def test_the_list_is_one_of_sha256sum(folder: Path) -> None:
    import subprocess

    (folder / "last").write_bytes(b"end")
    done = subprocess.run(["sha256sum", "-c", SUMS], cwd=folder, capture_output=True, text=True, check=False)
    assert done.stdout == "last: OK\nmodel/deep/weights: OK\nsteps: OK\n"


def test_files_as_they_were_written_and_files_that_no_list_names_are_read(folder: Path) -> None:
    check_folder(folder)
    check_file(folder / ".hidden")
    check_file(folder / "model" / "new")


@pytest.mark.parametrize("bit", range(8))
@pytest.mark.parametrize("name", ["steps", "model/deep/weights"])
def test_a_flipped_bit_is_noticed_and_the_file_is_named(folder: Path, name: str, bit: int) -> None:
    data = bytearray((folder / name).read_bytes())
    data[1] ^= 1 << bit
    (folder / name).write_bytes(data)
    with pytest.raises(ChangedFileError, match=f"{name}: its bytes differ from the checksum.*or delete"):
        check_file(folder / name)
    with pytest.raises(ChangedFileError, match=name):
        check_folder(folder / Path(name).parts[0])


def test_a_listed_file_that_is_gone_is_named(folder: Path) -> None:
    with pytest.raises(ChangedFileError, match="last"):
        check_file(folder / "last")


def test_what_is_written_anew_is_taken_off_and_listed_again(folder: Path) -> None:
    unlist(folder, ["steps"])
    (folder / "steps").write_bytes(b"two\n")
    check_file(folder / "steps")
    assert list(read_listed(folder)) == ["last", "model/deep/weights"]
    seal(folder, ["steps"])
    assert list(read_listed(folder)) == ["last", "model/deep/weights", "steps"]


@pytest.mark.parametrize("text", [b"rubbish\n", b"\xff", b"0" * 64 + b"  steps"])
def test_a_damaged_list_is_named(folder: Path, text: bytes) -> None:
    (folder / SUMS).write_bytes(text)
    with pytest.raises(ChangedFileError, match=f"{SUMS}: no list of checksums"):
        check_file(folder / "steps")

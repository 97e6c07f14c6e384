"""Archives made to do harm: each is refused by name, before a byte is written, in bounded memory and time."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from capo_bench.bundle.extract import extract
from capo_bench.bundle.manifest import BundleError, Manifest, load_manifest

NAME = "studies/tiny/bundle.json"
PLAN = "studies/tiny/plan.json"
TEXT = "studies/tiny/text"
MOST_MEMORY = 256


WHOLE = Manifest(study="tiny", profile="quick", sets=[], only=[], origin={})


def changed(**fields: object) -> bytes:
    return json.dumps({**json.loads(WHOLE.dump()), **fields}).encode()


def member(name: str, data: bytes = b"", **fields: Any) -> bytes:
    """Return header and content of a member, with whatever fields a hostile one has."""
    header = tarfile.TarInfo(name)
    header.size = len(data)
    for key, value in fields.items():
        setattr(header, key, value)
    return header.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape") + data + bytes(-len(data) % 512)


def pax(records: dict[str, str], name: str = PLAN, size: int = 0) -> bytes:
    """Return an extended header and the member that it is of."""
    lines = b""
    for key, value in records.items():
        line = f" {key}={value}\n".encode()
        length = len(line) + len(str(len(line) + 2))
        lines += str(length).encode() + line
    return member("x", lines, type=tarfile.XHDTYPE) + member(name, size=size)


def write(path: Path, *parts: bytes) -> Path:
    with gzip.open(path, "wb", 1) as file:
        for part in parts:
            file.write(part)
        file.write(bytes(1024))
    return path


def whole() -> bytes:
    return member(NAME, WHOLE.dump())


def sparse() -> Iterator[bytes]:
    yield whole()
    yield pax({"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(6 * 2**30)})


def sparse_old() -> Iterator[bytes]:
    yield whole()
    yield pax({"GNU.sparse.size": str(6 * 2**30), "GNU.sparse.map": f"0,1,{6 * 2**30},0"})


def sparse_gnu() -> Iterator[bytes]:
    yield whole()
    yield member(PLAN, type=tarfile.GNUTYPE_SPARSE)


def renamed() -> Iterator[bytes]:
    yield whole()
    yield pax({"path": "../../evil"})


def resized() -> Iterator[bytes]:
    yield whole()
    yield pax({"size": str(2**40)})


def global_header() -> Iterator[bytes]:
    yield member("x", b"20 path=../../evil\n", type=tarfile.XGLTYPE)
    yield whole()


def long_name() -> Iterator[bytes]:
    yield whole()
    yield member("././@LongLink", b"../evil\0", type=tarfile.GNUTYPE_LONGNAME) + member(PLAN)


def of_type(kind: bytes) -> Callable[[], Iterator[bytes]]:
    def parts() -> Iterator[bytes]:
        yield whole()
        yield member(PLAN, type=kind, linkname="/etc/passwd")

    return parts


def folder_by_name() -> Iterator[bytes]:
    yield whole()
    yield member("studies/tiny/report/", type=tarfile.AREGTYPE)


def claimed_size(size: int) -> Callable[[], Iterator[bytes]]:
    def parts() -> Iterator[bytes]:
        yield whole()
        yield member(PLAN, b"{}", size=size)

    return parts


def of_name(name: str) -> Callable[[], Iterator[bytes]]:
    """Return an archive with a file of a name that has no place in a results folder."""

    def parts() -> Iterator[bytes]:
        yield whole()
        yield member(name, b"x")

    return parts


def twice() -> Iterator[bytes]:
    yield whole()
    yield member(PLAN, b"{}")
    yield member(PLAN, b"[]")


def of_manifest(*blocks: bytes) -> Callable[[], Iterator[bytes]]:
    def parts() -> Iterator[bytes]:
        size = sum(map(len, blocks))
        header = tarfile.TarInfo(NAME)
        header.size = size
        yield header.tobuf(tarfile.GNU_FORMAT)
        yield from blocks
        yield bytes(-size % 512)

    return parts


def of_fields(**fields: object) -> Callable[[], Iterator[bytes]]:
    return of_manifest(changed(**fields))


def many_files() -> Iterator[bytes]:
    yield whole()
    plain = member("studies/tiny/0000000")
    blank = plain[:148] + b" " * 8 + plain[156:]
    for number in range(160_000):
        header = blank.replace(b"0000000", b"%07d" % number, 1)
        yield header[:148] + b"%06o\0 " % sum(header) + header[156:]


def many_bombs() -> Iterator[bytes]:
    """Yield packed files of which each grows by less than any file may, but all together by far too much."""
    packed = gzip.compress(bytes(2**24), mtime=0)
    yield whole()
    for step in range(200):
        yield member(f"trials/0123456789ab/rollouts/{step:05d}.0.jsonl.gz", packed)


def bomb() -> Iterator[bytes]:
    yield whole()
    yield member(TEXT, b"x" * 2**28)


def large(name: str, size: int) -> Callable[[], Iterator[bytes]]:
    """Return an archive with a file that says that it is large; nothing of it has to be there."""

    def parts() -> Iterator[bytes]:
        yield whole()
        yield member(name, size=size)

    return parts


STAGE = "stages/training/0123456789ab"

HOSTILE: dict[str, tuple[Callable[[], Iterator[bytes]], str]] = {
    "sparse 1.0": (sparse, "no plain file"),
    "sparse 0.1": (sparse_old, "no plain file"),
    "sparse of GNU": (sparse_gnu, "no plain file"),
    "another name in an extended header": (renamed, "no plain file"),
    "another size in an extended header": (resized, "no plain file"),
    "a global header": (global_header, "no plain file"),
    "a long name": (long_name, "no plain file"),
    "a symbolic link": (of_type(tarfile.SYMTYPE), "is a link"),
    "a hard link": (of_type(tarfile.LNKTYPE), "is a link"),
    "a device": (of_type(tarfile.CHRTYPE), "no plain file"),
    "a pipe": (of_type(tarfile.FIFOTYPE), "no plain file"),
    "a folder": (of_type(tarfile.DIRTYPE), "no plain file"),
    "a folder by its name": (folder_by_name, "no plain file"),
    "an unknown type": (of_type(b"Z"), "no plain file"),
    "a size beyond the end": (claimed_size(2**40), "more than the"),
    "a negative size": (claimed_size(-1), "no plain file"),
    "a name with parents": (of_name("studies/tiny/../../evil"), "leads out"),
    "an absolute name": (of_name("/tmp/evil"), "leads out"),
    "a name with a backslash": (of_name("studies/tiny/..\\evil"), "leads out"),
    "a name with an escape": (of_name("studies/tiny/\x1b[2J"), "leads out"),
    "another place": (of_name("mlflow.db"), "leads out"),
    "a trial without an id": (of_name("trials/evil/config.json"), "leads out"),
    "a very long name": (of_name("studies/tiny/" + "a" * 5000), "no plain file"),
    "a name of the whole": (of_name("studies/tiny/"), "leads out"),
    "the same name twice": (twice, "there twice"),
    "240 MB of objects": (of_manifest(*[b"{}," * 2**20] * 76), "none has more than"),
    "a manifest of 1 MiB of lists": (of_manifest(b"[" + b"[]," * 349_000 + b"0]"), "no manifest"),
    "nested": (of_manifest(b"[" * 100_000), "no manifest"),
    "nested within": (of_manifest(changed(origin={"a": 0}).replace(b"0", b"[" * 10_000)), "no manifest"),
    "a manifest of bytes": (of_manifest(bytes(range(256))), "no manifest"),
    "a manifest that is a number": (of_manifest(b"7"), "no manifest"),
    "a manifest of another format": (of_fields(format=2), "format: Input should be 4"),
    "a set that is no text": (of_fields(sets=[1]), "no manifest"),
    "a study that leads out": (of_fields(study="../x"), "it is of study"),
    "an unknown field": (of_fields(evil=1), "no manifest"),
    "160,000 files": (many_files, "more than 150,000 files"),
    "many small bombs": (many_bombs, "a bomb"),
    "a bomb": (bomb, "a bomb"),
    "a document of 65 MiB": (large("trials/0123456789ab/metrics.json", 65 * 2**20), "more than the 67,108,864"),
    "a list of checksums of 65 MiB": (large(f"{STAGE}/SHA256SUMS", 65 * 2**20), "more than the 67,108,864"),
    "a page of 257 MiB": (large("studies/tiny/report.md", 257 * 2**20), "more than the 268,435,456"),
    "nothing": (lambda: iter(()), "no bundle"),
    "no manifest": (lambda: iter([member(PLAN, b"{}")]), "no bundle"),
    "a checksum of a header": (lambda: iter([b"studies/" + bytes(504)]), "no bundle"),
    "a name that is no text": (lambda: iter([member("studies/\udcff")]), "no bundle"),
}

SCRIPT = """
import json, re, sys, time
from pathlib import Path
from capo_bench.bundle.manifest import BundleError
from capo_bench.bundle.extract import extract

for path in sorted(Path(sys.argv[1]).glob("*.tar.gz")):
    folder, began = Path(sys.argv[1]) / f"{path.name}.out", time.process_time()
    folder.mkdir()
    try:
        extract(path, folder)
        said = "unpacked"
    except BundleError as error:
        said = str(error)
    except BaseException as error:
        said = f"RAISED {error!r}"
    peak = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024
    line = {"name": path.name, "said": said, "peak": peak, "seconds": time.process_time() - began}
    print(json.dumps({**line, "written": [str(file) for file in folder.rglob("*")]}), flush=True)
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What one process of its own said of every hostile archive, and its memory after each."""
    folder = tmp_path_factory.mktemp("hostile")
    for number, (parts, _) in enumerate(HOSTILE.values()):
        write(folder / f"{number:02d}.tar.gz", *parts())
    (folder / "98.tar.gz").write_bytes(b"hello")
    (folder / "99.tar.gz").write_bytes(gzip.compress(whole())[:-20])
    done = subprocess.run([sys.executable, "-c", SCRIPT, folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {line["name"][:2]: line for line in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("number", range(len(HOSTILE)), ids=list(HOSTILE))
def test_it_is_refused_by_name_before_a_byte_is_written(outcomes: dict[str, Any], number: int) -> None:
    import re

    outcome, (_, said) = outcomes[f"{number:02d}"], list(HOSTILE.values())[number]
    assert re.search(said, outcome["said"]), outcome
    assert not outcome["said"].startswith("RAISED")
    assert outcome["written"] == []
    assert outcome["seconds"] < 30


def test_no_bundle_and_a_bundle_cut_short_are_sentences(outcomes: dict[str, Any]) -> None:
    assert "no bundle" in outcomes["98"]["said"]
    assert "cut short" in outcomes["99"]["said"]


def test_the_memory_of_all_of_them_is_bounded(outcomes: dict[str, Any]) -> None:
    assert max(outcome["peak"] for outcome in outcomes.values()) <= MOST_MEMORY


def test_one_that_does_not_fit_on_the_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "plain.tar.gz", whole(), member(PLAN, b"{}"))
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=1))
    with pytest.raises(BundleError, match="it holds 2 bytes, more than are free"):
        extract(path, tmp_path / "there")
    assert not (tmp_path / "there").exists()


def test_a_plain_bundle_is_unpacked(tmp_path: Path) -> None:
    path = write(tmp_path / "plain.tar.gz", whole(), member(PLAN, b"{}"))
    found = extract(path, tmp_path)
    assert (tmp_path / PLAN).read_bytes() == b"{}"
    assert load_manifest((tmp_path / NAME).read_bytes(), NAME) == found
    with tarfile.open(fileobj=io.BytesIO(path.read_bytes())) as tar:  # as any other program reads it
        assert tar.getnames() == [NAME, PLAN]

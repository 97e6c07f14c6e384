"""What the wheel holds: all of the four packages with their data files, and nothing of the checkout beside them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("capo_bench", "trainers", "evals", "ablations")
NEEDED = ("pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of what a wheel is built from: building leaves files behind."""
    folder = tmp_path_factory.mktemp("source")
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in (*PACKAGES, "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in NEEDED:
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = out.glob("*.whl")
    with zipfile.ZipFile(built) as file:
        yield file


def files_of(folder: Path) -> set[str]:
    """Return every file of the four packages, as the wheel names it."""
    return {path.relative_to(folder).as_posix() for name in PACKAGES for path in (folder / name).rglob("*.*")}


def test_every_file_of_the_packages_is_in_the_wheel(wheel, source):
    assert files_of(source) - {*wheel.namelist()} == set()


@pytest.mark.parametrize(
    "path",
    [
        "ablations/voting.yaml",
        "capo_bench/pages/templates/page.html.j2",
        "trainers/backbones/tiny.yaml",
        "evals/tasks/_math.yaml",
        "evals/tasks/math500.yaml",
        *(f"{package}/py.typed" for package in ("capo_bench", "trainers", "evals")),
    ],
)
def test_data_that_a_run_reads_is_in_the_wheel(wheel, path):
    assert path in wheel.namelist()


def test_nothing_else_is_in_the_wheel(wheel):
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {*PACKAGES}


def test_the_licence_goes_along_and_the_command_is_declared(wheel):
    info = {name.partition(".dist-info/")[2]: name for name in wheel.namelist() if ".dist-info/" in name}
    assert "Apache License" in wheel.read(info["licenses/LICENSE"]).decode()
    assert "capo-bench = capo_bench.cli:main" in wheel.read(info["entry_points.txt"]).decode()


def test_the_readme_is_the_description(wheel):
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = Parser().parsestr(wheel.read(name).decode())
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata.get_payload().strip() == (ROOT / "README.md").read_text(encoding="utf-8").strip()

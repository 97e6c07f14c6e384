"""Process time counts work, here and in children, and no waiting."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from evals.clock import process_seconds

WORK = "import time\nwhile time.process_time() < 0.3: pass\nprint('done', flush=True)\nimport sys; sys.stdin.read()"


def test_work_counts_and_waiting_does_not() -> None:
    began = process_seconds()
    time.sleep(0.3)
    waited = process_seconds() - began
    until = time.process_time() + 0.3
    while time.process_time() < until:
        pass
    assert waited < 0.2
    assert process_seconds() - began - waited == pytest.approx(0.3, abs=0.1)


@pytest.mark.skipif(sys.platform != "linux", reason="children that live are read from /proc")
def test_a_child_counts_while_it_lives_and_after_its_end_alike() -> None:
    began = process_seconds()
    with subprocess.Popen([sys.executable, "-c", WORK], stdin=-1, stdout=-1, text=True) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        assert child.stdout.readline() == "done\n"
        alive = process_seconds() - began
        child.stdin.close()
    ended = process_seconds() - began
    assert alive >= 0.27  # the clock of a child that lives has ticks of 10 ms
    assert ended >= alive - 0.05

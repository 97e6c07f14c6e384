"""Python runs this at its start: it keeps the stand-in from workers, in which TRL would take it for vLLM."""

import sys
from pathlib import Path

if "capo_bench.run.worker" in sys.orig_argv:
    sys.path.remove(str(Path(__file__).parent))

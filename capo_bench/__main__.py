"""Run the command line as ``python -m capo_bench``."""

from capo_bench.cli import main

if __name__ == "__main__":
    main(prog_name="capo-bench")

"""Evaluation: benchmarks, the verifier, generation and scoring."""

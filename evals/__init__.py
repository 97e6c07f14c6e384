"""What measures: benchmarks, the verifier, generation and scoring."""

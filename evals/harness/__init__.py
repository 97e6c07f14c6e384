"""Evaluate with lm-eval's models and tasks, in two stages that communicate by files: generate, then score."""

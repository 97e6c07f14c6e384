"""The credit view: rollouts with what was said of their steps and what their tokens earned, on one page."""

"""The credit view: rollouts with what critics said of their steps and what their tokens earned, on one page."""

"""`credit`: every method's credit measured against the true advantages of steps, on stored rollouts."""

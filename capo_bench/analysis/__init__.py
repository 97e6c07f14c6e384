"""From the files of finished trials to numbers: the answer, its statistics. Draws nothing."""

"""From the files of finished trials to numbers: tidy frames, the answer, its statistics. Draws nothing."""

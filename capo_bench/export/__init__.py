"""Export a trial as a model and a data set for the hub (`export`)."""

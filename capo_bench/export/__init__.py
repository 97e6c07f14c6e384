"""`export`: what a trial leaves as a model and a data set of the hub."""

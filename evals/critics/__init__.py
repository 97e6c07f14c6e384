"""Evaluation of critics: data with labelled steps, and the agreement of flags with the labels."""

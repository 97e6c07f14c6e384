"""CAPO's credit assignment, free of any trainer: text to steps, critiques to votes, votes to token advantages.

Pure functions on plain data and arrays: nothing here trains, calls a model, or touches a file. The order of work:
`segment` cuts the text into steps, `align` finds the step of every token, `votes` combines the critiques of a rollout
into a penalty per step, `rewards` and `advantages` turn penalties into what the policy gradient is weighted with, and
`assign` ties them together for a batch.
"""

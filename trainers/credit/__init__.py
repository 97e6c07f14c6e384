"""Credit assignment, free of any trainer: text to steps, critiques to votes, votes or scores to advantages of steps.

Pure functions on plain data and flat arrays, the only implementation there is: training, `revote`, the credit view and
`verify` call the same ones. The order of work: `segment` cuts the text into steps, `align` finds the step of every
token, `batch` lays rollouts out, `votes` combines critiques into a penalty per step, and a method's own file turns what
is known of a batch into what its steps earn (`terms.CreditFunction`).
"""

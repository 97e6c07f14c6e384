"""Assign credit to the steps of rollouts, independently of any trainer.

The functions are pure, and work on plain data and flat arrays. They are the only implementation: training, `revote`,
the credit view and `verify` call the same functions. The order of work is:

1. `segment` cuts the text into steps.
2. `align` finds the step of every token.
3. `batch` lays out the rollouts as arrays.
4. `votes` combines critiques into a penalty per step.
5. The method's own file computes the advantages of the steps from this evidence (`terms.CreditFunction`).
"""

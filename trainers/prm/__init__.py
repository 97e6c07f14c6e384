"""Process reward models: format a solution, score its steps, and train a policy on the scores."""

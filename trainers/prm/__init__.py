"""Process reward models: reading a solution's steps, scoring them, and what a policy is trained on for it."""

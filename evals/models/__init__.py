"""Ask language models: prompts, n, sampling and seeds in, completions out. All other packages use this interface."""

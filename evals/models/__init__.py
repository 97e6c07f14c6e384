"""The one way to ask a language model: prompts, n, sampling and seeds in, completions out."""

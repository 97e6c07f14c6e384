"""Measuring a critic on step-labelled data, with the prompt, parser and votes that training uses."""

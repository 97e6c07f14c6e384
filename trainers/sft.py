"""SFT: the supervised start alone, measured as it is."""

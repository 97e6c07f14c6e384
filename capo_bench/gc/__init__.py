"""Keeping a results folder bounded: what may go, what must stay, and how it goes without leaving half of anything."""

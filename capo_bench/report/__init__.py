"""Results become an answer: statistics, tables, figures, one page."""

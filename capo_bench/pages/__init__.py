"""What people look at: tables, figures, HTML, Markdown and LaTeX of numbers that `analysis` worked out."""

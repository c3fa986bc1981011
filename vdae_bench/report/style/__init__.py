"""How reports look: figures, Markdown, HTML, LaTeX, CSV, the terminal, and a section as a value."""

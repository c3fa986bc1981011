"""How reports look: figures, Markdown, the digest of what a figure shows."""

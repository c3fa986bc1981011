"""The sections about samples: their evidence, figures and quality."""

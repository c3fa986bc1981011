"""The sections about a hyper-parameter search: its text and its figures."""

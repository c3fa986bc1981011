"""Specs and protocols: a YAML file to checked cells, their hyper-parameters, seeds and length.

In order: `file` (what may be written), `check` (its faults, each with its line), `sweep` (what is left: cells),
`protocol`.
"""

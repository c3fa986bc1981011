"""Specs and protocols: a YAML file to checked cells, their hyper-parameters, seeds and length.

In order: `file` (what may be written), `check` (all its faults, each with its line), `cells` (grids multiplied out),
`sweep` (what is left: cells), `protocol`, `hyperparameters` (which names may be set, and to what).
"""

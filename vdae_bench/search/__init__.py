"""Hyper-parameter search: Optuna studies of a sweep's cells, on validation -ELBO, and the winners that final runs use.

In the order of a search: `searches` (those of a sweep), `studies` (which there are), `space` (what may vary), `run`
(the loop), `propose` (what to try next), `trials` (training a batch), `ledger` (the study in Optuna's storage),
`winner` (the frozen result). `run`, `propose` and `ledger` import Optuna, and only what searches imports them.
"""

"""Hyper-parameter search: Optuna studies of a sweep's cells, on validation -ELBO, and the winners that final runs use.

In the order of a search: `studies` (which there are), `space` (what may vary), `sampling` (what to try next), `trials`
(training a batch), `ledger` (the study in Optuna's storage), `winner` (the frozen result), `search` (the loop).
Only `space`, `sampling` and `ledger` import Optuna.
"""

"""From a sweep to its records: what is to run, what it costs, and how groups of runs get done.

In the order of a run: `job` (identity), `plan` (what is there already), `cost`, `shards`, `schedule` (one group after
the other, or beside each other on an engine), `group` (train, evaluate, publish), `workbench`, `stop`.
"""

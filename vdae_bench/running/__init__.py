"""From a sweep to its records: what is to run, what it costs, and how groups of runs get done.

In the order of a run: `options` (what a user said), `context` (where and on what), `job` (the identity of a run),
`plan` (what is to run), `cost`, `budget`, `shards`, `execute` (a plan to its records), `schedule` (tasks one after the
other, or beside each other on one of `pools`), `task`, `group` (train, evaluate, publish), `workbench`, `stop`,
`orphan`. Nothing here knows of searches, whose trials are tasks too.
"""

"""Numbers and verdicts, from records alone: runs, rows, columns, units, statistics, claims."""

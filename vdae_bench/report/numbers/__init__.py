"""What is true: runs, rows, units, statistics, verdicts and claims, from records alone."""

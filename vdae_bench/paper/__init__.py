"""The paper's side of the comparison: the numbers that it prints and the claims that it makes, as data."""

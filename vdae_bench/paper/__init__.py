"""The paper's side of the comparison: what it prints, as data with its place in the paper."""

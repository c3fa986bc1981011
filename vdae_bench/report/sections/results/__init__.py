"""The section of results: scores beside the paper's, and what is said of them."""

"""The results folder: records, evidence of samples, weights, and where each is from."""

"""The methods, a file each: what a row of the paper's tables is made of."""

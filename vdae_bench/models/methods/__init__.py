"""The methods, a file each: how a row of the paper's tables is put together from the parts in `models`."""

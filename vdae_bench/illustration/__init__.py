"""The space of models on a toy data set in the plane: its training, and its picture."""

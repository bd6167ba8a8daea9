"""What computes the cells of a run: one module for each executor."""

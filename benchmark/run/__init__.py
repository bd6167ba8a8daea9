"""Planning, scheduling and computing the cells of a run."""

"""Changes between two runs, and judgment of a run against a baseline."""

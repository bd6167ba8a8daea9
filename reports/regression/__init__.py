"""What changed between two runs, and whether a run is worse than a baseline."""

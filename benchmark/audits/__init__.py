"""Checks of data and weights that stand beside a run."""

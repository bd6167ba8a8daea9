"""Audits of data and weights, independent of a run."""

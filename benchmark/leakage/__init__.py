"""Leakage audit: what of a task's test split its training could already know."""

"""Audit of the splits of a task: copies and groups across splits, and shortcuts to split or label."""

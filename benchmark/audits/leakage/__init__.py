"""Audit of a task's splits: copies and groups across splits, shortcuts to split or label."""

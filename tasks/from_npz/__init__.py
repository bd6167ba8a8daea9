"""Tasks in one npz file: headers, checks, and rows read a few at a time."""

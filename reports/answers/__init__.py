"""Answers at the top of the page, one module per question."""

"""Downstream classification tasks: one module per data source, and their cards of facts."""

"""Pretraining sources: one module per family of inits, and the strict loading of their weights."""

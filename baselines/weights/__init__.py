"""Checkpoints: reading, checking, matching tensors to a network, and preparing its input."""

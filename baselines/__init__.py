"""Pretraining sources: what the weights of a network start from."""

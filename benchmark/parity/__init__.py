"""Repeat published results by their own protocol and compare."""

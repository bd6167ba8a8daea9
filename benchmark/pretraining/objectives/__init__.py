"""Objectives of a pretraining, one module each."""

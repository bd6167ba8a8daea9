"""Pretraining of a MedNet: one backbone, one head per source, on one or several machines."""

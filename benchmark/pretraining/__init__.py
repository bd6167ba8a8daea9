"""The making of a MedNet: one backbone, one head per source, on one machine or many."""

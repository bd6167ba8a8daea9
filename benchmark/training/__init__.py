"""Training and scoring of one network on one task."""

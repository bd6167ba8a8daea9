"""Plain data that a run writes and reads: cells, plans, records and provenance."""

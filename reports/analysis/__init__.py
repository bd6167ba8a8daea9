"""Analysis of records: averages, pairs, verdicts."""

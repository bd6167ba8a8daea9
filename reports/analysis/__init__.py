"""From records to what can be said of them: averages, pairs, verdicts."""

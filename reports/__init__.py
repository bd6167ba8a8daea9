"""From records to statistics, answers and pages."""

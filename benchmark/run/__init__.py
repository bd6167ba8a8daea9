"""From a request to records: planning, scheduling and computing of cells."""

"""A plug-in for mednet-bench: one task, one init, two metrics and one section of the report."""

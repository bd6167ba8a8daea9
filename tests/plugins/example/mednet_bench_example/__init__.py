"""A plug-in for mednet-bench: one task, one init, one metric and one section of the report."""

"""A plug-in for mednet-bench: one task, init, metric, protocol and section of the report each."""

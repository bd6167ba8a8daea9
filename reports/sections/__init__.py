"""The sections of the report, one module each, and what they draw with."""

"""The commands of the command line: what computes, what reports, and what looks at data."""

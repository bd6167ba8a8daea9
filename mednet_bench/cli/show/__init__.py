"""What a person reads in a terminal: plans, tasks and databases as text."""

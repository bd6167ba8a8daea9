"""The tasks that the program brings: one module registers each family."""

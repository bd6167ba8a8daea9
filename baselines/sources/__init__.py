"""The inits that the program brings: one module registers each."""

"""Tasks that ship with the program; one module registers each family."""

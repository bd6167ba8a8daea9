"""What is classified: tasks, their cards, the catalog, and where images come from."""

"""Classification tasks: cards, catalog, and sources of images."""

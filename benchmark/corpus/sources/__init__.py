"""Where the images of a corpus come from; one module per kind of source."""

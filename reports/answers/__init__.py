"""The questions on top of the page, one module per answer."""

"""Image formats, one module each: from a medical file to pixel arrays."""

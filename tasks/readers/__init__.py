"""From a file of any medical format to arrays of pixels; one module per format."""

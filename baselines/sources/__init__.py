"""The built-in inits, registered by one module each."""

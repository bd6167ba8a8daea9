"""Errors, files, TOML, registries, plug-ins and progress; it imports no other package."""

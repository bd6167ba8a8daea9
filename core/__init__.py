"""Errors, files, TOML, registries, plug-ins and progress: imports none of the other packages."""

"""Statistics on arrays; no module here reads records."""

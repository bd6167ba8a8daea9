"""Arrays in, numbers out: no module here knows a record."""

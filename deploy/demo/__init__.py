"""A whole federation on one machine, end to end."""

"""HQ's operator API."""

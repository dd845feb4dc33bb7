"""Merge, gate, register, sign and roll out releases."""

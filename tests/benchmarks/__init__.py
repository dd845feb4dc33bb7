"""Converters of public data and benchmark plans."""

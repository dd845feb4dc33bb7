"""Unit tests; mirror the source tree."""

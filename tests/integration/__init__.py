"""Tests on real servers that they start themselves."""

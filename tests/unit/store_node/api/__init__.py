"""Unit tests of ``store_node.api``."""

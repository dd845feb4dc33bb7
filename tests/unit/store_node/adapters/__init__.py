"""Unit tests of ``store_node.adapters``."""

"""Unit tests of ``store_node.knowledge``."""

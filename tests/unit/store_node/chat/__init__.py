"""Unit tests of ``store_node.chat``."""

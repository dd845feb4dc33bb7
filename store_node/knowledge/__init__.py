"""Catalogue, orders, documents and their search."""

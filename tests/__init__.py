"""Tests of StoreWeave."""

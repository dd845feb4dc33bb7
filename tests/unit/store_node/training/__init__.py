"""Tests of the store's training."""

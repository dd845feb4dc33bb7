"""Tests that mirror the product's tree."""

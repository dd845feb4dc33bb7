"""The store: answers customers, keeps their words, trains adapters under differential privacy."""

"""Headquarters: plans rounds, aggregates adapters, releases models, keeps the HQ ledger."""

"""Inference engines and model slots."""

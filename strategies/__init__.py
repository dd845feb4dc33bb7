"""Pure functions over numpy arrays: means, LoRA factors, checks. No I/O, no flwr, no torch."""

"""Compare ways of learning, privacy and splits of the data on one machine."""

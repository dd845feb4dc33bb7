"""What HQ owes a regulator: what was spent, what is left, and the proof."""

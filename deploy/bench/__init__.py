"""Measurements of this machine: each beside a yardstick that runs in the same minute."""

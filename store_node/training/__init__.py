"""Customer-level DP-SGD of adapters."""

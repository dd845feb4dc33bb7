"""The Flower ServerApp and Strategy: thin."""

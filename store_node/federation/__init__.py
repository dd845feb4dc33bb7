"""The Flower ClientApp and the store's own ledger."""

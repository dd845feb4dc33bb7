"""The words that stores and headquarters both speak; imports nothing else of StoreWeave."""

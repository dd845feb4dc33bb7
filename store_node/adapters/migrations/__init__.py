"""The history of the store's schema; ``Database.upgrade`` applies it."""

"""The commands of the ``storeweave`` program, one module a group."""

"""One-machine launcher and the ``storeweave`` command line."""

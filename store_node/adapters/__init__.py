"""All input and output of a store, behind its ports."""

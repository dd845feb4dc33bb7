"""All input and output of HQ, behind its ports."""

"""A conversation's way to a training sample: consent, quality, desensitization."""

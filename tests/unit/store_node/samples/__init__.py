"""Tests of a conversation's way to a training sample."""

"""Scores of predicted label maps."""

"""Suggesting which slices to annotate."""

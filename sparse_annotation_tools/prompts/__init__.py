"""Frozen encoders that turn annotated slices and class names into embeddings."""

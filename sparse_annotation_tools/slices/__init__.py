"""Annotated slices: on which planes they lie, what was drawn on them, who learns from which."""

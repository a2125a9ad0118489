"""From annotated slices to labels for the whole scan."""

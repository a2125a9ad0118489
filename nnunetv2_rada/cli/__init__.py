"""Commands that need a trained model; the others are in `sparse_annotation_tools.cli`."""

"""nnU-Net v2 plugin that trains from three annotated slices per scan."""

"""Making a raw nnU-Net dataset from images and annotated slices."""

"""alpha-clip-tiny: a small region-aware dual encoder, trained on drawn slices, that ships with this package."""

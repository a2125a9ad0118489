"""A page on this computer where a person paints the suggested slices of each scan."""

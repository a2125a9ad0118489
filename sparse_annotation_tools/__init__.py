"""Tools for sparse annotations: find, propagate, fuse, store and evaluate annotated slices of 3-D scans."""

"""Checking a dataset before hours of training."""

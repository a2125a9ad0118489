"""Tests of the dataset check."""

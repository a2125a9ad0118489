"""Tests of alpha-clip-tiny."""

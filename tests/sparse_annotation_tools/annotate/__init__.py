"""Tests of the annotation page, without a browser."""

"""The table of bad inputs: every row of docs/reliability.md is a test."""

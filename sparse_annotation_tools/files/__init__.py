"""Reading and writing: volumes, label maps and JSON, whatever is wrong with them."""

"""`rada-compare`: the paper's comparison and ablations, rerun by one command."""

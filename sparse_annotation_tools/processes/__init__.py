"""Long work: in processes or on a cluster, one writer at a time, with progress."""

"""The report: one page that opens from disk, an overview of a dataset, its training and predictions, and every case."""

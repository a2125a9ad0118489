"""From the rada/ folder to two-stream batches on the preprocessed grid."""

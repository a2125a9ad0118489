"""Training methods in pure PyTorch: they know tensors, not nnU-Net."""

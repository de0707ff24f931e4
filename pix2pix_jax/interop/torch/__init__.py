"""Networks of the widely used PyTorch implementation, in and out."""

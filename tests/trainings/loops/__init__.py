"""Every kind of training loop that PyTorch users write, each compared with a slow and obvious reference."""

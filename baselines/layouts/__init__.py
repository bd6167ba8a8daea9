"""How published checkpoints name their tensors; one module per family."""

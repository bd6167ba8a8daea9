"""Reading, checking and loading of checkpoints, and preparation of the network's input."""

"""Public checkpoints, each described by a TOML card in `cards/`."""

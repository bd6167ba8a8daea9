"""The engine: plan, subsets, training, protocols, records and the command line."""

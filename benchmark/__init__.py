"""The experiment: cells, training, protocols, pretraining, audits and the run."""

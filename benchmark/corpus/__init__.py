"""Convert public or private image sets to shards that a pretraining can stream."""

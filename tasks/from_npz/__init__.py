"""Tasks in one npz: header checks, and rows read in batches."""

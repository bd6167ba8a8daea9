"""The catalogue of public medical image databases: counts, licences, parents and overlaps."""

"""Pixels and headers of one image: reading, windowing, bit depth and perceptual hashes."""

"""Kinds of sources of a corpus, one module each."""

"""Facts of a card, to which tests add the tables of files."""

CARD = """name = "ward"
title = "A ward"
kind = "binary"
classes = ["healthy", "ill"]
modality = "ct"
variant = "gray"
source_group = "ours"
parents = []
license = "internal"
citation = "none"
"""

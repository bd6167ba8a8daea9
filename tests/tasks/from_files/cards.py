"""The facts of a card that tests add the tables of files to."""

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

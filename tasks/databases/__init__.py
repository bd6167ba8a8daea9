"""The catalog of public medical image databases: counts, licenses, parents and overlaps.

The facts come from what the projects publish themselves, from lists that others keep, and partly from
memory, up to version 25 of the Imaging Data Commons (September 2026); every row says which: `verification`
and `evidence` for the row, `count_evidence` (primary, secondary, memory), `license_evidence` (read, memory,
unknown) and `parents_evidence` (read, recalled). They are leads for a person who is about to use a
database, and no legal advice: read the license where the images are.

sources.csv        one row per database; it was made from its `parents` and shares images with its `overlaps`
contamination.csv  downstream task, its parent, and a corpus that holds images of that parent
compositions.csv   which images of which database would make up a Gray-MedNet and a Color-MedNet
idc.csv            the NCI Imaging Data Commons, version 25, by collection and modality
outside.csv        sets without a row of their own that are named as parents, or that weights have seen
aliases.csv        other words for the same database

What a license allows is read from its words by `licenses`; the row `gray,fill` of compositions.csv is own
arithmetic: further slices of the same volumes.
"""

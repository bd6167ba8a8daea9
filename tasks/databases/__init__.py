"""Catalog of public medical image databases: counts, licenses, parents and overlaps.

Facts come from the projects' own pages, from other lists, and partly from memory, up to version 25 of the
Imaging Data Commons (September 2026). Each row states its evidence: `verification` and `evidence` for the
row, `count_evidence` (primary, secondary, memory), `license_evidence` (read, memory, unknown) and
`parents_evidence` (read, recalled). They are leads, not legal advice: read the license at the source.

sources.csv        one row per database; derived from its `parents`, shares images with its `overlaps`
contamination.csv  downstream task, its parent, and a corpus with images of that parent
compositions.csv   images per database for a Gray-MedNet and a Color-MedNet
idc.csv            the NCI Imaging Data Commons, version 25, by collection and modality
outside.csv        sets without a row in sources.csv: parents, and corpora that weights have seen
aliases.csv        other names of a database

`licenses` derives terms from the words of a license. The row `gray,fill` of compositions.csv is our own
estimate: further slices of the same volumes.
"""

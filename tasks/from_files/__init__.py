"""Tasks from image files: card, listing, splits by patient, arrays in the cache.

A module imports only from its own line or from a line above:

    schema                           tables of a card
    folders, table, patient_ids      files in a folder, tables as text, patient of each image
    file_search, label_words, task_table  files and classes that cells name, tables appended or joined
    listing, table_rows, find        files of a task, each with label, patient and split
    area_resize, letterbox, file_traits  image as a square, file properties beside its pixels
    decode_chunk, decode             decoding of all files by several processes
    split, splits_and_labels         split of each image
    class_traits, arrays             properties by class, arrays
    decoded_again, warnings          arrays for another split, differences between files
    prepared_side, prepared          arrays of a task in the cache
    source, card                     interface to other packages
    columns, draft_paths, card_draft draft of a card for a folder
"""

from typing import TYPE_CHECKING

from ...core.lazy import import_on_first_use

if TYPE_CHECKING:
    from . import card_draft, label_words, prepared, prepared_side
else:
    __getattr__ = import_on_first_use(__name__)

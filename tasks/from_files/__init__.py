"""A task from files: a card, a folder or table of images, splits by patient, arrays prepared once.

A module builds only on those of its own line, or of one above it:

    spec                           what a card says of its files
    folders, table, owners         what lies in a folder, a CSV or Parquet as text, of whom an image is
    listing, rows, find            the files of a task, each with its label, patient and split
    shrink, fit, traits            an image as a square, and what its file says beside its pixels
    piece, decode                  all files decoded, by several processes
    split, parts                   which image is in which split
    arrays, warn, prepared         the arrays of a task in the cache, made once
    known, source, card            what the other rooms ask for
    columns, draft                 a first card for a folder
"""

from typing import TYPE_CHECKING

from ...core.lazy import import_on_first_use

if TYPE_CHECKING:
    from . import card_draft
else:
    __getattr__ = import_on_first_use(__name__)

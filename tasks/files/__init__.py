"""A task from files: a card, a folder or table of images, splits by patient, arrays prepared once."""

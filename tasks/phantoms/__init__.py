"""Drawing of generated images, from which the phantom tasks are made."""

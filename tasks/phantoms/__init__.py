"""Drawing of the generated images of the phantom tasks."""

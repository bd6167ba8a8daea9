"""Audit whether weights have seen a task's test images: by declaration and by measurement."""

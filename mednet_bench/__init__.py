"""Does pretraining on medical images beat ImageNet transfer, or training from scratch, on your task?"""

from .core.hardware import bound_spinning

bound_spinning()  # here, since every way to torch leads through this package

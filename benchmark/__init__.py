"""The engine: plan, subsets, training, protocols, records and the command line."""

from .hardware import bound_spinning

bound_spinning()  # here, since every way to torch leads through this package

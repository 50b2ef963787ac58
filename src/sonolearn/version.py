"""The version, in a module that imports nothing, for all rooms to use."""

__version__ = "0.1.0"

"""Exceptions of cnnfast's own; everything else is a built-in one."""


class ModelFileError(ValueError):
    """A file is not a model that this version can load; nothing of it was used."""

"""The type of a whole config. It is below the fields, whose checks ask the data about types."""

from ml_collections import ConfigDict


class Config(ConfigDict):
    """A whole config, in which `update` is the field, not the method of ConfigDict.

    Code that takes a config reads `config['update']`: that is the field of any ConfigDict.
    The networks and the step say ConfigDict, for they are given a frozen one in a run.
    """

    update = property(lambda self: self['update'])

"""The version of this code."""

import importlib.metadata
import pathlib
import tomllib

NAME = 'pix2pix_jax'


def version() -> str:
    """Returns the version: that of the checkout in which the code lies, else the installed one.

    A checkout need not be installed, and metadata of an editable install can be older than it.
    """
    project = pathlib.Path(__file__).parents[1] / 'pyproject.toml'
    if project.is_file():
        about = tomllib.loads(project.read_text()).get('project', {})
        if about.get('name') == NAME:
            return about['version']
    return importlib.metadata.version(NAME)

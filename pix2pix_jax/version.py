"""The version of this code, and how versions compare."""

import importlib.metadata
import pathlib
import re
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


def numbers(version: str) -> tuple[int, ...]:
    """Returns 1.20.3rc1 as (1, 20, 3), which compares; () for what does not begin with a number."""
    return tuple(map(int, re.findall(r'\d+', re.split(r'[^\d.]', version, maxsplit=1)[0])))

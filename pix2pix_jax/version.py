"""The version of this code, and how versions compare."""

import importlib.metadata
import pathlib
import re
import tomllib
from typing import Any

NAME = 'pix2pix_jax'


def version() -> str:
    """Returns the version: that of the checkout in which the code lies, else the installed one.

    A checkout need not be installed, and metadata of an editable install can be older than it.
    """
    project = _project_of_checkout()
    return project['version'] if project else importlib.metadata.version(NAME)


def is_checkout() -> bool:
    """Whether the code lies in a checkout of this project, and not where it was installed."""
    return bool(_project_of_checkout())


def _project_of_checkout() -> dict[str, Any]:
    file = pathlib.Path(__file__).parents[1] / 'pyproject.toml'
    about = tomllib.loads(file.read_text()).get('project', {}) if file.is_file() else {}
    return about if about.get('name') == NAME else {}


def numbers(version: str) -> tuple[int, ...]:
    """Returns 1.20.3rc1 as (1, 20, 3), which compares; () for what does not begin with a number."""
    return tuple(map(int, re.findall(r'\d+', re.split(r'[^\d.]', version, maxsplit=1)[0])))

"""For a notebook: shows a run while it trains, and runs the other commands."""

import base64
import contextlib
import os
import re
import subprocess
from collections.abc import Iterator

from etils import epath

from pix2pix_jax.workdir import background
from pix2pix_jax.workdir.metric_writer import sample_paths

SECONDS = 10.0  # between two looks at the run


def view(workdir: epath.PathLike) -> str:
    """Returns HTML of what the run in `workdir` has so far, '' where it has nothing yet.

    The curves are those of its page, which is written when the run is saved.
    """
    parts = []
    for step, path in sample_paths(workdir)[-1:]:
        png = base64.b64encode(path.read_bytes()).decode()
        parts.append(
            f'<p>step {step:,}</p><img style="max-width: 100%" src="data:image/png;base64,{png}">'
        )
    page = epath.Path(workdir) / 'index.html'
    curves = re.findall(r'<svg.*?</svg>', page.read_text(), re.DOTALL) if page.exists() else []
    if curves:
        parts.append(f'<div style="display: flex; flex-wrap: wrap">{"".join(curves)}</div>')
    return '\n'.join(parts)


@contextlib.contextmanager
def shown(workdir: epath.PathLike, seconds: float = SECONDS) -> Iterator[None]:
    """While entered, shows `view` below the cell of a notebook, anew where it has changed."""
    from IPython.display import HTML, display  # a notebook has it

    seen = view(workdir)
    place = display(HTML(seen or 'image grids and curves come here'), display_id=True)

    def update() -> None:
        nonlocal seen
        new = view(workdir)
        if new != seen:
            place.update(HTML(new))
            seen = new

    with background.repeated(update, seconds):
        yield


def run(*words: str) -> None:
    """Runs a command on the CPU, and prints what it says as it comes.

    The accelerator is the notebook's. IPython's own `!command` forks the process, which may stand
    still where jax has threads.
    """
    with subprocess.Popen(
        words,
        env=os.environ | {'JAX_PLATFORMS': 'cpu', 'PYTHONUNBUFFERED': '1'},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        for line in process.stdout or ():
            print(line, end='', flush=True)

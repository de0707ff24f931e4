"""pix2pix in JAX and Flax. Importing the package starts nothing."""

import sys

# python -m pix2pix_jax.COMMAND looks for the command: this is the first line of ours that it runs.
if sys.argv[:1] == ['-m'] and any(word.startswith(f'{__name__}.') for word in sys.orig_argv):
    from pix2pix_jax import interrupts

    interrupts.end_at_once()

__all__ = ['Translator']


def __getattr__(name: str) -> type:
    """Imports `Translator` when it is asked for: jax takes seconds."""
    if name in __all__:
        from pix2pix_jax.inference.translator import Translator

        return Translator
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')

"""A user's images for a run of patterns: which are its inputs, and what their outputs are named."""

import collections
from collections.abc import Mapping, Sequence

from etils import epath

from pix2pix_jax.data import pattern_pairs
from pix2pix_jax.data.folders import examples, natural
from pix2pix_jax.data.patterns import Key, Pattern, fill
from pix2pix_jax.errors import DataError
from pix2pix_jax.inference.inputs import Input


def by_patterns(
    images: Sequence[Mapping[str, epath.Path]],
    wanted: Sequence[Pattern],
    mask: Pattern | None = None,
) -> list[Input]:
    """Returns the inputs among `images`, named as their targets would be by the run's patterns.

    The patterns are tried on paths as in the run's data, then below the first of the folders that
    they name, below the first two, and so on.
    Those of `images` that are no input are counted on stdout. There is no input where the names
    are not those of the patterns.

    Args:
      images: the files of each place by their paths in it: of one place for all patterns, or of
        one for the pattern of each input.
      wanted: the patterns of the run's inputs, and that of its target.
      mask: that of its masks, if it has one.

    Raises:
      DataError: where names cannot be told apart.
    """
    no_inputs = [wanted[-1], *filter(None, [mask])]
    for k in range(max(one.fixed for one in wanted) + 1):
        found, others = _found(images, _below(wanted[:-1], k), _below(no_inputs, k))
        if found:
            if others:
                left = f'{len(others):,} images match no input pattern, and are left out'
                print(f'{left}: {examples(others)}', flush=True)
            return _named(found, wanted[-1])
    return []


def _below(patterns: Sequence[Pattern], k: int) -> list[Pattern]:
    """Returns what the patterns are below the first `k` of the folders that they name."""
    return [one._replace(parts=one.parts[min(k, one.fixed) :]) for one in patterns]


def _found(
    images: Sequence[Mapping[str, epath.Path]],
    inputs: Sequence[Pattern],
    no_inputs: Sequence[Pattern],
) -> tuple[dict[Key, tuple[epath.Path, ...]], list[str]]:
    """Returns the files of each key that has all inputs, and the paths that are in none."""
    if len(images) == 1:
        (files,) = images
        told_apart = {one[1:]: one for one in (*no_inputs, *inputs)}  # an input rather than none
        others = [one for one in told_apart.values() if one not in inputs]
        matches = pattern_pairs.match([*inputs, *others], files)
        of_each = [
            {key: files[path] for key, path in some.items()}
            for some in matches.files[: len(inputs)]
        ]
    else:
        of_each = []
        for one, files in zip(inputs, images):
            (some,) = pattern_pairs.match([one], files).files
            of_each.append({key: files[path] for key, path in some.items()})
    keys = set(of_each[0]).intersection(*of_each)
    found = {key: tuple(some[key] for some in of_each) for key in keys}
    used = {file for files in found.values() for file in files}
    return found, [path for files in images for path, file in files.items() if file not in used]


def _named(found: Mapping[Key, tuple[epath.Path, ...]], target: Pattern) -> list[Input]:
    several = len({key.split for key in found}) > 1
    names: dict[str, list[Key]] = collections.defaultdict(list)
    for key in found:
        name = fill(target, *key)
        names[f'{key.split}/{name}' if several else name].append(key)
    for name, keys in names.items():
        if len(keys) > 1:
            one, other = (found[key][0] for key in keys[:2])
            raise DataError(f'{one} and {other} would both be translated to {name}')
    return [Input(name, found[names[name][0]]) for name in sorted(names, key=natural)]

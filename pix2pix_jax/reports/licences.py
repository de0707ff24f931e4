"""What is known of the licences of a run's data and of weights that were trained on it."""

from pix2pix_jax.config import Config
from pix2pix_jax.data.catalogue import openmoji
from pix2pix_jax.data.catalogue.published import PUBLISHED

OPENMOJI = 'drawings by OpenMoji (https://openmoji.org), CC BY-SA 4.0'
OPENMOJI_WORD = 'cc-by-sa-4.0'  # which holds for what is made of them
UNKNOWN = 'unknown'  # the model hubs' word for it


def is_openmoji(config: Config) -> bool:
    """Whether the run's data is built in."""
    d = config.dataset
    return d.name in openmoji.NAMES and not d.path and d.task == 'none'


def of_data(config: Config) -> str:
    """Returns a line about a run's data and its licence, '' where nothing is known of it."""
    if is_openmoji(config):
        return OPENMOJI
    known = PUBLISHED.get(config.dataset.name)
    return f'{known.title} ({known.homepage}): {known.licence}' if known else ''


def of_weights(config: Config) -> str:
    """Returns the licence of a run's weights, where its data says it, in the model hubs' word."""
    return OPENMOJI_WORD if is_openmoji(config) else UNKNOWN

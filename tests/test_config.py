"""The fields and their defaults."""

from pix2pix_jax.config import default_config, flatten
from pix2pix_jax.validation import validate


def test_the_default_is_the_papers_setting():
    assert validate(default_config()) == default_config()
    fields = flatten(default_config())
    paper = {
        'image_size': (256, 256),
        'batch_size': 1,
        'num_epochs': 200,
        'update': 'alternating',
        'dataset.jitter': 286 / 256,
        'dataset.mirror': True,
        'generator.width': 64,
        'generator.dropout': 0.5,
        'discriminator.layers': 3,
        'discriminator.width': 64,
        'init.scale': 0.02,
        'loss.gan': 'vanilla',
        'loss.l1_weight': 100.0,
        'loss.d_weight': 0.5,
        'optimizer.learning_rate': 2e-4,
        'optimizer.b1': 0.5,
        'optimizer.b2': 0.999,
        'test.norm': 'image',
        'test.dropout': True,
    }
    assert {field: fields[field] for field in paper} == paper


def test_update_is_a_field():
    config = default_config()
    assert config.update == 'alternating'
    config['update'] = 'simultaneous'
    assert config.update == 'simultaneous'
    config.update = 'alternating'
    assert config.update == config['update'] == 'alternating'

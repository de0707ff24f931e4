"""What scripts/benchmark.py times of this project, by task."""

import os
import pathlib
import time
from typing import Any

from bench import variants
from bench.tasks import (
    TOGETHER,
    Prepared,
    Setting,
    config_of,
    cores,
    draw_batch,
    errors,
    pairs_of,
    timed,
)
from bench.workers import WARM_UP
from pix2pix_jax.errors import UserError


def prepared_jax(setting: Setting):
    """Returns jax, the process set up as the commands do; the compile cache if the setting says so.

    Raises UserError where jax has not the device.
    """
    os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')  # the peer is on it, too
    given, more = os.environ.get('XLA_FLAGS', ''), variants.OURS.get(setting.variant, '')
    if not set(more.split()) <= set(given.split()):  # it may have been called before
        os.environ['XLA_FLAGS'] = f'{given} {more}'.strip()
    os.environ.update(variants.ENVIRONMENT.get(setting.variant, {}))
    from pix2pix_jax.runtime import keep_freed_memory, use_compile_cache

    keep_freed_memory()
    if setting.cached:
        use_compile_cache()
    import jax

    if setting.device == 'cpu':
        jax.config.update('jax_platforms', 'cpu')
    elif setting.dtype == 'float32':
        jax.config.update('jax_default_matmul_precision', 'highest')
    if jax.local_devices()[0].platform != setting.device:
        found = jax.local_devices()[0].platform
        raise UserError(f'--device={setting.device}: jax finds none here, but a {found}')
    return jax


def our_step(setting: Setting) -> Prepared:
    """Prepares the training step as pix2pix_jax.train makes it, or as the variant says.

    `device_mb`, of a GPU, is what XLA has planned for a step: the peak of the process would be that
    of moving the state into its layouts, once.
    """
    jax = prepared_jax(setting)
    from pix2pix_jax import train_setup
    from pix2pix_jax.distributed import layouts, memory, parallel
    from pix2pix_jax.train_state import training_key
    from pix2pix_jax.train_step import train_step

    use_form(setting)
    config, devices = config_of(setting), jax.local_devices()[:1]
    state, _ = train_setup.initial_state(config, devices, total_steps=1000)
    images, key = jax.device_put(draw_batch(setting), devices[0]), training_key(config)
    box = [parallel.replicate(state, devices)]
    del state  # it is donated to the step
    chosen = 'layouts' in setting.variant if setting.variant else None
    step_fn = parallel.compile_step(train_step, config, devices, chosen)
    begin = time.perf_counter()
    step_fn = step_fn.lower(box[0], images, key, None).compile()
    name = 'compile_or_load_s' if setting.cached else 'compile_s'
    figures = {name: time.perf_counter() - begin}
    if setting.device == 'gpu' and (size := memory.of_program(step_fn)):
        figures['device_mb'] = size / 2**20
    if layouts.available():
        box[0] = layouts.move_to_layouts(box[0], layouts.input_formats(step_fn))

    def step():
        box[0], metrics = step_fn(box[0], images, key, None)
        return box[0], metrics

    together = TOGETHER[setting.device]
    return timed(step, jax.block_until_ready, together), figures


def use_form(setting: Setting) -> None:
    """Has networks that are made from now on take the form of convolutions of the variant."""
    from pix2pix_jax.models import factory

    if form := variants.FORMS.get(setting.variant):
        factory.CONV_FORMS[setting.device] = form


def our_state(config, jax):
    """Returns freshly drawn weights."""
    from pix2pix_jax import train_setup

    return train_setup.initial_state(config, jax.local_devices()[:1], total_steps=1000)[0]


def our_infer(setting: Setting) -> Prepared:
    """Prepares the translation of a batch from and to the host, with freshly drawn weights."""
    jax = prepared_jax(setting)
    from pix2pix_jax.inference.generator import Generator

    config, images = config_of(setting), draw_batch(setting)['input']
    variables = our_state(config, jax).generator_variables()
    translate = Generator(config, variables, batch=setting.batch)
    return timed(lambda: translate(images)), {}


def our_infer_device(setting: Setting) -> Prepared:
    """Prepares the translation of a batch that lies on the device, and stays there."""
    jax = prepared_jax(setting)
    from pix2pix_jax.inference.generator import generator_function

    config, device = config_of(setting), jax.local_devices()[0]
    images, key = jax.device_put((draw_batch(setting)['input'], jax.random.key(0)), device)
    variables = our_state(config, jax).generator_variables()
    apply = generator_function(config, device.platform)
    translate = jax.jit(lambda variables, x, key: apply(variables, x, rngs={'dropout': key}))
    together = TOGETHER[setting.device]
    return timed(lambda: translate(variables, images, key), jax.block_until_ready, together), {}


def our_error(setting: Setting) -> dict[str, float]:
    """Returns how far a translation, and L1's gradients by G, are from the same in float64."""
    jax = prepared_jax(setting)
    import jax.numpy as jnp
    import numpy as np

    from pix2pix_jax.inference.generator import generator_function

    config, platform, batch = (
        config_of(setting),
        jax.local_devices()[0].platform,
        draw_batch(setting),
    )
    variables = jax.device_get(our_state(config, jax).generator_variables())

    def arrays(dtype: str) -> list:
        config.dtype = dtype
        apply = generator_function(config, platform, 'image', dropout=False)

        @jax.jit
        def gradients(params, stats, x, target):
            def loss(params):
                fake = apply({'params': params, 'batch_stats': stats}, x)
                return jnp.abs(fake - target).mean(), fake

            found, fake = jax.grad(loss, has_aux=True)(params)
            return fake, found

        held = np.float64 if dtype == 'float64' else np.float32
        weights = (variables['params'], variables['batch_stats'])
        given = jax.tree.map(held, (*weights, batch['input'], batch['target']))
        return [np.asarray(x, np.float64) for x in jax.tree.leaves(gradients(*given))]

    found = arrays(config.dtype)
    with jax.enable_x64(True):
        expected = arrays('float64')
    return errors(found, expected)


def our_profile(setting: Setting) -> dict[str, Any]:
    """Returns where the time of a training step goes, as `trace.summary` says it.

    The trace itself stays beside the setting's `folder`, for whoever wants to see it.
    """
    jax = prepared_jax(setting)
    from bench import trace

    step, _ = our_step(setting)
    for _ in range(WARM_UP):
        step()
    folder = pathlib.Path(setting.folder).with_name(f'trace_{setting.dtype}')
    with jax.profiler.trace(str(folder)):
        seconds = step()
    return {'traced_step_ms': 1e3 * seconds} | trace.summary(folder, TOGETHER[setting.device])


def our_device(setting: Setting) -> dict[str, Any]:
    """Returns the device's name, and what jax reaches it by."""
    device = prepared_jax(setting).local_devices()[0]
    platform = ' '.join(device.client.platform_version.split())
    about = {'device': device.device_kind, 'jax_platform': platform}
    return about | {'compute_capability': str(getattr(device, 'compute_capability', ''))}


def _our_pairs(setting: Setting, **dataset: Any) -> Prepared:
    prepared_jax(setting._replace(device='cpu'))
    from pix2pix_jax.data import discover, pipeline, preflight

    config = config_of(setting, **dataset)
    splits = discover.open_splits(config)
    if dataset['cache'] == 'on':
        splits = preflight.decode_all(splits, config)
    return pairs_of(pipeline.train_batches(splits['train'], config), setting)


def our_pipeline(setting: Setting) -> Prepared:
    """Prepares the input pipeline from files, with default settings: threads."""
    return _our_pairs(setting, cache='off')


def our_pipeline_workers(setting: Setting) -> Prepared:
    """Prepares the input pipeline from files, with a worker process for each core."""
    return _our_pairs(setting, cache='off', workers=cores())


def our_pipeline_cached(setting: Setting) -> Prepared:
    """Prepares the input pipeline from decoded pairs in memory."""
    return _our_pairs(setting, cache='on')


TASKS = {
    'step': our_step,
    'infer': our_infer,
    'infer_device': our_infer_device,
    'pipeline': our_pipeline,
    'pipeline_workers': our_pipeline_workers,
    'pipeline_cached': our_pipeline_cached,
    # Figures alone:
    'error': our_error,
    'profile': our_profile,
    'device': our_device,
}

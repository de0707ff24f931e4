"""Parts: what the card is, and whether a step is right on it."""

import importlib.util
import json
import os
import pathlib
import re
import subprocess
import sys

from bench import figures
from bench.card import nvidia, processor, versions
from bench.tasks import Setting, config_of, draw_batch
from gpu.plan import ROOT, Missing, Plan, Write, environment

PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'grain', 'numpy', 'torch')
RECORDED = pathlib.Path(__file__).parent / 'recorded_steps.json'
STEPS = 2  # the second step's losses depend on the first one's gradients
# Of the recorded losses, in parts of them: float32 adds in another order on every device.
TOLERANCE = 1e-3


def card(plan: Plan, write: Write) -> None:
    """Says what the machine is: versions, processor, card, clocks, power."""
    write(processor() | versions(*PACKAGES) | nvidia())
    command = ['git', '-C', str(ROOT), 'rev-parse', '--short', 'HEAD']
    commit = subprocess.run(command, capture_output=True, text=True)
    write({'commit': commit.stdout.strip() or 'not known'})
    torch = importlib.util.find_spec('torch') is not None
    write(figures.about_figures(plan.setting(), torch))
    if not torch:
        raise Missing('torch is missing')


def check(plan: Plan, write: Write) -> None:
    """Runs the accelerator's tests, compares steps with recorded ones, saves and restores."""
    write({'test_accelerator': accelerator_tests(plan)})
    write(recorded_steps(plan.setting('float32'), plan.tiny))
    write(saved_layouts(plan))


def accelerator_tests(plan: Plan) -> str:
    """Returns how tests/test_accelerator.py went, its last line."""
    if importlib.util.find_spec('pytest') is None:
        return 'pytest is missing'
    # No options of pyproject.toml: they need pytest's plugins. The flags for quick compiling would
    # be tested in place of what runs use.
    command = [sys.executable, '-m', 'pytest', '-o', 'addopts=', '-q', 'tests/test_accelerator.py']
    flags = os.environ.get('XLA_FLAGS', '')
    done = subprocess.run(
        [*command, '-p', 'no:cacheprovider'],
        cwd=ROOT,
        env=environment(plan, XLA_FLAGS=flags),
        capture_output=True,
        text=True,
    )
    return (done.stdout.strip().splitlines() or done.stderr.strip().splitlines() or [''])[-1]


def recorded_steps(setting: Setting, tiny: bool) -> dict:
    """Returns the losses of two steps here, and how far they are from those of a CPU.

    Where the initial weights are not the recorded ones, as another version of jax may draw them,
    it says so.
    """
    found = losses_of(setting)
    kept = json.loads(RECORDED.read_text())['tiny' if tiny else 'full']
    result: dict = {'losses': found['losses']}
    weights, expected = found['weights'], kept['weights']
    if abs(weights - expected) > 1e-5 * abs(expected):
        recorded = f'{weights:.8g}, recorded {expected:.8g}'
        return result | {'recorded': f'not comparable: the initial weights sum to {recorded}'}
    differences = [
        abs(a[name] - b[name]) / abs(b[name])
        for a, b in zip(found['losses'], kept['losses'])
        for name in b
    ]
    verdict = 'equal' if max(differences) < TOLERANCE else 'DIFFERENT'
    return result | {'recorded': verdict, 'recorded_largest_difference': max(differences)}


def losses_of(setting: Setting) -> dict:
    """Returns the losses of STEPS steps on noise, without dropout, in full float32.

    Dropout is left out, since its masks depend on jax's version.
    """
    import jax
    import numpy as np

    from pix2pix_jax import train_setup
    from pix2pix_jax.distributed import parallel
    from pix2pix_jax.train_state import training_key
    from pix2pix_jax.train_step import train_step

    config, devices = config_of(setting), jax.local_devices()[:1]
    config.generator.dropout = 0.0
    with jax.default_matmul_precision('highest'):
        state, _ = train_setup.initial_state(config, devices, total_steps=STEPS)
        params = (state.generator.params, state.discriminator.params)
        weights = sum(
            float(np.abs(np.asarray(x, np.float64)).sum()) for x in jax.tree.leaves(params)
        )
        state = parallel.replicate(state, devices)
        step, losses = parallel.compile_step(train_step, config, devices), []
        for _ in range(STEPS):
            state, metrics = step(state, draw_batch(setting), training_key(config))
            losses.append({name: float(value) for name, value in sorted(metrics.items())})
    return {'weights': weights, 'losses': losses}


def saved_layouts(plan: Plan) -> dict:
    """Saves a state that lies in layouts of XLA's choice, restores it, and compares every bit."""
    import jax
    import numpy as np

    from pix2pix_jax import train_setup
    from pix2pix_jax.distributed import layouts, parallel
    from pix2pix_jax.train_state import training_key
    from pix2pix_jax.train_step import train_step
    from pix2pix_jax.workdir.checkpoints import Checkpoints

    if not layouts.available():
        raise Missing('this jax has no layouts to choose')
    setting = plan.setting()
    config, devices = config_of(setting), jax.local_devices()[:1]
    state, _ = train_setup.initial_state(config, devices, total_steps=STEPS)
    step = parallel.compile_step(train_step, config, devices, choose_layouts=True)
    batch, key = draw_batch(setting), training_key(config)
    state, _ = step(state, batch, key)
    folder = plan.path('saved_layouts')
    checkpoints = Checkpoints(folder, writer=True)
    checkpoints.save('last', 1, state, config)
    restored = checkpoints.restore('last', 1, jax.tree.map(jax.numpy.zeros_like, state))
    checkpoints.close()
    pairs = list(zip(jax.tree.leaves(state), jax.tree.leaves(restored)))
    equal = sum(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in pairs)
    turned = sum(_is_turned(x) for x in jax.tree.leaves(state))
    restored, metrics = step(layouts.moved(restored, _formats(state)), batch, key)
    return {
        'arrays': len(pairs),
        'arrays_not_in_plain_order': turned,
        'arrays_equal_after_restore': equal,
        'step_after_restore': 'finite' if _finite(metrics) else 'NOT FINITE',
    }


def _formats(state):
    import jax

    return jax.tree.map(lambda x: x.format, state)


def _finite(metrics) -> bool:
    import numpy as np

    return all(np.isfinite(float(value)) for value in metrics.values())


def _is_turned(array) -> bool:
    """Whether an array's axes lie in another order than C's, by what jax says of its layout."""
    order = re.findall(r'\d+', str(array.format.layout.major_to_minor))
    return [int(axis) for axis in order] != list(range(array.ndim))


def record() -> None:
    """Writes the losses that `recorded_steps` compares with: python -c '…', on a CPU."""
    found = {
        name: losses_of(Plan('cpu', name == 'tiny', '', '', '', 0).setting())
        for name in ('tiny', 'full')
    }
    RECORDED.write_text(json.dumps(found, indent=1) + '\n')

"""Parts: what the card is, and whether a step is right on it."""

import importlib.util
import json
import os
import pathlib
import subprocess
import time

from bench import figures, theirs
from bench.card import nvidia, processor, versions
from bench.tasks import Setting, config_of, draw_batch
from bench.workers import Worker
from gpu.context import NO_TORCH, Missing, PartContext, Write, last_line, start, untuned
from pix2pix_jax.workdir.run_json import git_commit

PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'grain', 'numpy', 'torch')
RECORDED = pathlib.Path(__file__).parent / 'recorded_steps.json'
STEPS = 2  # the second step's losses depend on the first one's gradients
# Of the recorded losses, in parts of them: float32 adds in another order on every device.
TOLERANCE = 1e-3
TESTS_LOG = 'test_accelerator.log'


def card(context: PartContext, write: Write) -> None:
    """Says what the machine is: versions, processor, card, clocks, power."""
    write(processor() | versions(*PACKAGES) | nvidia())
    write(figures.about_figures(context.setting(), torch=False))
    write({'commit': git_commit() or 'not known'})
    if importlib.util.find_spec('torch') is None:
        raise Missing(NO_TORCH)
    with Worker(theirs.TASKS, context.setting()) as worker:
        write(worker.figures('device'))


def check(context: PartContext, write: Write) -> None:
    """Runs the accelerator's tests, compares steps with recorded ones, saves and restores.

    With kernels that XLA does not choose by their times, which takes a minute a program on a GPU.
    """
    end = time.monotonic() + context.seconds
    os.environ |= untuned(context)
    tests = start_accelerator_tests(context)
    try:
        steps = Steps(context.setting('float32'), write)
        write(compared(steps, json.loads(RECORDED.read_text())['tiny' if context.tiny else 'full']))
        write(saved(steps, context.path('saved')))
    except Exception as error:  # before the tests are waited for
        write({'steps_failed': f'{type(error).__name__}: {error}'})
        raise
    finally:
        write({'test_accelerator': outcome(tests, context, end - time.monotonic())})


def start_accelerator_tests(context: PartContext) -> subprocess.Popen | None:
    """Starts tests/test_accelerator.py, beside the rest; returns None without pytest."""
    if importlib.util.find_spec('pytest') is None:
        return None
    # No options of pyproject.toml: they need pytest's plugins. XLA_FLAGS, if empty, keeps
    # tests/conftest.py from its flags for quick compiling, which no run has.
    words = ['-o', 'addopts=', '-p', 'no:cacheprovider', '-q', 'tests/test_accelerator.py']
    return start(context, 'pytest', words, TESTS_LOG, XLA_FLAGS=os.environ.get('XLA_FLAGS', ''))


def outcome(tests: subprocess.Popen | None, context: PartContext, seconds: float) -> str:
    """Returns the last line of the tests, which says how they went; waits at most `seconds`."""
    if tests is None:
        return 'pytest is missing'
    try:
        tests.wait(max(0.0, seconds))
    except subprocess.TimeoutExpired:
        tests.kill()
        return f'not finished in time: {last_line(context.path(TESTS_LOG))}'
    return last_line(context.path(TESTS_LOG))


class Steps:
    """STEPS steps on noise, in full float32, in layouts of XLA's choice where jax can.

    Dropout is left out, since its masks depend on jax's version.
    """

    def __init__(self, setting: Setting, write: Write = lambda found: None):
        """Takes the steps; `write` is given the sum of the weights, and the losses of each step."""
        import jax
        import numpy as np

        from pix2pix_jax import runtime, train_setup
        from pix2pix_jax.config import flatten, from_fields
        from pix2pix_jax.distributed import layouts, parallel
        from pix2pix_jax.train_state import training_key
        from pix2pix_jax.train_step import train_step

        runtime.use_compile_cache()
        self.config = from_fields(flatten(config_of(setting)) | {'generator.dropout': 0.0})
        devices = jax.local_devices()[:1]
        with jax.default_matmul_precision('highest'):
            state, _ = train_setup.initial_state(self.config, devices, total_steps=STEPS)
            params = jax.tree.leaves((state.generator.params, state.discriminator.params))
            self.weights = sum(float(np.abs(np.asarray(x, np.float64)).sum()) for x in params)
            write({'sum_of_weights': self.weights})
            state = parallel.replicate(state, devices)
            step = parallel.compile_step(train_step, self.config, devices, layouts.available())
            self.losses: list[dict[str, float]] = []
            for _ in range(STEPS):
                state, metrics = step(state, draw_batch(setting), training_key(self.config), None)
                self.losses.append({name: float(value) for name, value in sorted(metrics.items())})
                write({'losses': self.losses})
        self.state = state


def compared(steps: Steps, kept: dict) -> dict:
    """Returns the losses of the steps, and how far they are from those of a CPU.

    Where the initial weights are not the recorded ones, as another version of jax may draw them,
    it says so.
    """
    result: dict = {'losses': steps.losses}
    if abs(steps.weights - kept['weights']) > 1e-5 * abs(kept['weights']):
        recorded = f'{steps.weights:.8g}, recorded {kept["weights"]:.8g}'
        return result | {'recorded': f'not comparable: the initial weights sum to {recorded}'}
    differences = [
        abs(a[name] - b[name]) / abs(b[name])
        for a, b in zip(steps.losses, kept['losses'])
        for name in b
    ]
    verdict = 'equal' if max(differences) < TOLERANCE else 'DIFFERENT'
    return result | {'recorded': verdict, 'recorded_largest_difference': max(differences)}


def saved(steps: Steps, folder: pathlib.Path) -> dict:
    """Saves the state, restores it in plain order, and compares every bit."""
    import jax
    import numpy as np

    from pix2pix_jax.workdir.checkpoints import Checkpoints

    checkpoints = Checkpoints(folder, writer=True)
    checkpoints.save('last', STEPS, steps.state, steps.config)
    target = jax.tree.map(jax.numpy.zeros_like, steps.state)
    restored = checkpoints.restore('last', STEPS, target)
    checkpoints.close()
    pairs = list(zip(jax.tree.leaves(steps.state), jax.tree.leaves(restored)))
    equal = sum(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in pairs)
    return {
        'arrays': len(pairs),
        'arrays_not_in_plain_order': sum(_is_turned(x) for x in jax.tree.leaves(steps.state)),
        'arrays_equal_after_restore': equal,
    }


def _is_turned(array) -> bool:
    """Whether an array's axes lie in another order than C's, by what jax says of its layout."""
    layout = getattr(getattr(array, 'format', None), 'layout', None)
    return layout is not None and list(layout.major_to_minor) != list(range(array.ndim))


def record() -> None:
    """Writes what `compared` compares with.

    On a CPU: PYTHONPATH=.:scripts python -c 'from gpu.checks import record; record()'
    """
    found = {}
    for name in ('tiny', 'full'):
        steps = Steps(PartContext('cpu', name == 'tiny', '', '', '', 0).setting())
        found[name] = {'weights': steps.weights, 'losses': steps.losses}
    RECORDED.write_text(json.dumps(found, indent=1) + '\n')

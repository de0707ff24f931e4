"""What happens between the steps of a run: log, evaluate, sample, test, save."""

import contextlib
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np
import optax
from etils import epath

from pix2pix_jax import flow
from pix2pix_jax.config_type import Config
from pix2pix_jax.data import pipeline
from pix2pix_jax.data.sources import evenly
from pix2pix_jax.distributed.memory import OutOfMemory
from pix2pix_jax.errors import DataError, Stopped, UserError
from pix2pix_jax.evaluation import metric_titles, metrics, report, translated
from pix2pix_jax.evaluation.report import Summary
from pix2pix_jax.evaluation.translated import Examples
from pix2pix_jax.inference.generator import Generator, at_steps
from pix2pix_jax.intervals import NOTHING, Due, intervals
from pix2pix_jax.reports import image_grid, run_page
from pix2pix_jax.reports.progress import Console, Durations
from pix2pix_jax.train_setup import Setup
from pix2pix_jax.train_state import GanState
from pix2pix_jax.workdir.checkpoints import Checkpoints
from pix2pix_jax.workdir.metric_writer import RunWriter, sample_paths
from pix2pix_jax.workdir.metrics_json import result_folder
from pix2pix_jax.workdir.trackers import start_tracker

SAMPLE_ROWS = 4
PAGE_SHARE = 20  # the page is drawn anew at a save when so many times as it took have passed


class NotWritten(UserError):
    """The disk refused."""


class Interrupted(Exception):
    """A signal came within an evaluation, of which nothing is kept."""


class Recorder:
    """Writes a run's folder; one process of the run holds one."""

    def __init__(
        self,
        setup: Setup,
        checkpoints: Checkpoints,
        state: GanState,
        schedule: optax.Schedule,
        interrupted: Callable[[], bool] = lambda: False,
    ):
        """Takes the folder to the step of `state`: whatever a killed run wrote later goes.

        Args:
          setup: what the run is made of.
          checkpoints: those of the run.
          state: that the run starts or resumes from.
          schedule: the learning rate by step.
          interrupted: whether an evaluation is to end with Interrupted; asked between images.
        """
        self._config, self._workdir, self._command = setup.config, setup.workdir, setup.command
        self._splits, self._checkpoints, self._schedule = setup.splits, checkpoints, schedule
        maximum = {'val': setup.config.eval_images, 'test': 0}
        self._measured = {
            split: evenly(setup.splits[split], maximum[split])
            for split in maximum
            if split in setup.splits
        }
        shown = next(setup.splits[s] for s in ('val', 'test', 'train') if s in setup.splits)
        self._shown = evenly(shown, SAMPLE_ROWS)
        self._interrupted = interrupted
        self._intervals = intervals(setup.config, setup.total_steps, self.has_val)
        self._console = Console(int(state.step), setup.total_steps)
        tracker = start_tracker(setup.tracker, setup.workdir, setup.config)
        self._writer = RunWriter(setup.workdir, int(state.step), tracker)
        self._writer.write_hparams(setup.config.to_dict())
        config = setup.config
        self._translator = self._tester = self._generator(config, state)
        if config.method == 'flow':  # the last test is what `evaluate` measures
            config = at_steps(config, flow.STEPS_IN_TRAINING)
            self._translator = self._generator(config, state)
        val, test = (len(self._measured.get(split, ())) for split in maximum)
        cost = setup.config.test.steps / config.test.steps
        self._durations = Durations(self._intervals, val, test, cost)
        self._logged = int(state.step)
        # By config.checkpoint.best, lower is better: the best checkpoint's value, and the last one.
        self._best = self._newest = math.inf
        self._told = False  # that there is no best
        self._next_page = -math.inf

    def _generator(self, config: Config, state: GanState) -> Generator:
        """That of evaluations, and for sample grids too: it is compiled once."""
        batch = translated.batch_size(config)
        return Generator(config, state.generator_variables(), batch=batch)

    @property
    def has_val(self) -> bool:
        """Whether there is a val split to evaluate on."""
        return 'val' in self._splits

    def missing(self, step: int) -> Due:
        """Returns the work that was due after `step` and that a signal prevented."""
        if not step:
            return NOTHING
        due = self._intervals.due_at(step)
        row: Mapping = next((r for r in self._writer.rows()[-1:] if r['step'] == step), {})
        drawn = step in [at for at, _ in sample_paths(self._workdir)]
        return Due(
            evaluate=due.evaluate and 'eval/l1' not in row,
            sample=due.sample and not drawn,
            test=due.test and 'test' in self._splits and 'test/l1' not in row,
            save=False,
        )

    def resume(self, state: GanState) -> None:
        """Resumes from `state`: does what a kill kept its save from, and finds the best so far."""
        step = int(state.step)
        rows = self._writer.rows()
        field = self._config.checkpoint.best
        values = {r['step']: self._score(r) for r in rows if r.get(field) is not None}
        saved = self._checkpoints.steps('best')
        self._best = min((values[s] for s in saved if s in values), default=math.inf)
        self._newest = values.get(step, math.inf)
        with self._disk(step):
            if self._newest < self._best:
                self._save_best(step, state)
            if step:
                self._write_page()

    def step(self, step: int) -> None:
        """Moves the progress bar to `step`."""
        self._console.step(step)

    def log(self, step: int, metrics: Mapping[str, np.ndarray], images_per_s: float) -> None:
        """Writes the losses of a step; raises UserError if one is not finite."""
        values = {k: float(v) for k, v in metrics.items()}
        values['learning_rate'] = float(self._schedule(step - 1))
        scalars = {f'train/{k}': v for k, v in values.items()}
        with self._disk(step):
            self._writer.write_scalars(step, scalars | {'perf/images_per_s': images_per_s})
        seconds = self._config.batch_size / max(images_per_s, 1e-9)
        self._console.train(step, values, images_per_s, self._durations.left(step, seconds))
        wrong = [k for k, v in values.items() if not math.isfinite(v)]
        if wrong:
            with self._disk(step):
                self._writer.flush()
            raise self._not_finite(f'{", ".join(wrong)}', step)
        self._logged = step

    def evaluate(self, step: int, state: GanState) -> bool:
        """Measures the val split; returns whether it is the best so far, by `checkpoint.best`."""
        with self._durations.of('image', len(self._measured['val'])):
            summary = self._measure('val', step, state, None)
        self._newest = self._score(self._write_means('eval', step, summary))
        return self._newest < self._best

    def _score(self, row: Mapping[str, float]) -> float:
        """Returns the value by which the best is chosen: the lower the better; inf: none."""
        field = self._config.checkpoint.best
        better = metric_titles.sign(field.removeprefix('eval/'))
        return -better * row[field] if field in row else math.inf

    def test(self, step: int, state: GanState) -> None:
        """Measures the test split, if there is one, and writes evaluation/test."""
        if 'test' in self._splits:
            with self._disk(step, must=True):  # nothing else tries again
                summary = self._measure('test', step, state, result_folder(self._workdir, 'test'))
                self._write_means('test', step, summary)

    def _measure(
        self, split: str, step: int, state: GanState, folder: epath.Path | None
    ) -> Summary:
        translator = self._tester if split == 'test' else self._translator
        translator.update(state.generator_variables())
        about = {'split': split, 'step': step, 'checkpoint': 'last'} | translated.about_steps(
            self._config
        )
        source = self._measured[split]
        batches = translated.batches(translator.on_device, source, self._config)
        with jax.debug_nans(False):  # a metric that an image does not have is NaN
            summary, _ = report.measure(
                self._until_interrupted(batches),
                len(source),
                folder,
                about=about,
                accumulators=metrics.always(self._config, source.has_units),
            )
        translator.update({})  # or the device would hold a generator more
        return summary

    def _until_interrupted(self, batches: Iterable[Examples]) -> Iterator[Examples]:
        for batch in batches:
            if self._interrupted():
                raise Interrupted
            yield batch

    def _write_means(self, prefix: str, step: int, summary: Summary) -> dict[str, float]:
        means = {name: s['mean'] for name, s in summary.items() if 'mean' in s}
        row = {f'{prefix}/{name}': mean for name, mean in means.items()}
        with self._disk(step):
            self._writer.write_scalars(step, row)
        text = '  '.join(f'{k} {v:.4f}' for k, v in means.items())
        self._console.line(f'step {step}: {prefix}  {text}')
        best = self._config.checkpoint.best
        if prefix == 'eval' and best not in row and not self._told:
            why = summary.get(best.removeprefix('eval/'), {}).get('reason', 'it is not measured')
            self._console.line(f'warning: no best is saved: config.checkpoint.best={best}: {why}')
            self._told = True
        return row

    def sample(self, step: int, state: GanState) -> None:
        """Writes a grid of a few fixed images: input, output, target."""
        with self._durations.of('grid'):
            self._sample(step, state)

    def _sample(self, step: int, state: GanState) -> None:
        self._translator.update(state.generator_variables())
        source = self._shown
        pairs = [pipeline.example(source, i, self._config) for i in range(len(source))]
        inputs = np.stack([pair['input'] for pair in pairs])
        targets = np.stack([pair['target'] for pair in pairs])
        outputs, targets = (source.shown(x, 'target') for x in (self._translator(inputs), targets))
        valid = np.stack([pair['valid'] for pair in pairs]) if source.has_valid else None
        shown = image_grid.narrow(targets, valid, source.has_units)
        targets = image_grid.white_elsewhere(targets, valid)
        stretched = ([image_grid.stretched(x, shown) for x in xs] for xs in (outputs, targets))
        seen = source.shown(inputs)
        rows = list(zip(map(image_grid.by_itself, seen), *stretched))
        self._translator.update({})
        about = image_grid.in_units(shown, source.target_range)
        about_input = image_grid.about_itself(seen)
        titles = (f'input{about_input}', f'output{about}', f'target{about}')
        with self._disk(step):
            self._writer.write_images(step, image_grid.make_grid(rows, titles))

    def save(self, step: int, state: GanState, improved: bool, must: bool = False) -> None:
        """Saves the state as last, and as best if it improved.

        Args:
          step: how many steps are done.
          state: on one device.
          improved: whether it is the best on val so far.
          must: whether the run ends after this.

        Raises:
          UserError: if the state is not finite, or the disk refuses. The latter is a warning where
            checkpoint.on_error says so and the run continues.
        """
        if not bool(_all_finite(state)):
            with self._disk(step):
                self._writer.flush()
            raise self._not_finite('the state', step)
        with self._disk(step, must), self._durations.of('save'):
            self._writer.flush()  # first: whatever is saved has its metrics on the disk
            self._checkpoints.save('last', step, state, self._config)
            if improved:
                self._save_best(step, state)
            if must or time.monotonic() >= self._next_page:
                self._write_page()

    def _save_best(self, step: int, state: GanState) -> None:
        self._checkpoints.save('best', step, state.translating(), self._config)
        self._best = self._newest

    @contextlib.contextmanager
    def _disk(self, step: int, must: bool = False) -> Iterator[None]:
        """Makes one line of what the disk refuses: an error, or a warning if the run continues."""
        try:
            yield
        except OSError as error:
            what = f'{error.filename or self._workdir}: {error.strerror or error}'
            what = f'step {step} is not all written: {what}'
            if must or self._config.checkpoint.on_error == 'raise':
                raise NotWritten(what, status=1) from error
            print(f'warning: {what}; {self._last_good()}', file=sys.stderr, flush=True)

    def save_once(self, step: int, state: GanState) -> None:
        """Saves the state as last, if there is any training in it that is not saved."""
        if step and step not in self._checkpoints.steps('last'):
            self.save(step, state, False)

    def _not_finite(self, what: str, step: int) -> UserError:
        return UserError(
            f'{what} became NaN or infinite in steps {self._logged + 1} to {step}; nothing of it '
            f'was saved, {self._last_good()}',
            status=1,
        )

    def _last_good(self) -> str:
        last = self._checkpoints.steps('last')
        return f'the last good checkpoint is {f"step {last[-1]}" if last else "none"}'

    def stopped(self, step: int, signal_number: int) -> Stopped:
        """Returns the error that ends a run after a signal, with the command that resumes."""
        return Stopped(
            signal_number, f'stopped and saved at step {step}; resume with: {self._command}'
        )

    def stopped_by(self, error: UserError) -> UserError:
        """Returns the error with the step that is saved and the command that resumes from it."""
        if isinstance(error, OutOfMemory):  # the command must change
            return UserError(f'{error}; {self._last_good()}', status=1)
        if isinstance(error, NotWritten):
            return UserError(
                f'{error}; {self._last_good()}; resume with: {self._command}', status=1
            )
        last = self._checkpoints.steps('last')
        return DataError(
            f'{error}; {f"saved is step {last[-1]}" if last else "nothing is saved yet"}: '
            f'mend the file and resume with: {self._command}'
        )

    def _write_page(self) -> None:
        begin = time.monotonic()
        rows = self._writer.rows()
        run_page.write_run_page(
            self._workdir, self._config, rows, self._command, metric_titles.heading
        )
        end = time.monotonic()
        self._next_page = end + PAGE_SHARE * (end - begin)

    def close(self) -> None:
        """Ends the files and the progress bar."""
        self._console.close()
        self._writer.close()
        self._checkpoints.close()


@jax.jit
def _all_finite(state: GanState) -> jax.Array:
    leaves = [x for x in jax.tree.leaves(state) if jnp.issubdtype(x.dtype, jnp.inexact)]
    return jnp.stack([jnp.isfinite(x).all() for x in leaves]).all()

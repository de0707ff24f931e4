import time

import jax
import pytest

from pix2pix_jax.intervals import Intervals
from pix2pix_jax.reports import progress
from pix2pix_jax.reports.progress import Console, Durations, duration


@pytest.mark.parametrize(
    ('seconds', 'text'),
    [(0.4, '0 s'), (89, '89 s'), (120, '2 min'), (3600, '60 min'), (12_000, '3 h 20 min')],
)
def test_duration(seconds, text):
    assert duration(seconds) == text


def test_without_a_terminal_a_log_is_a_line(capsys):
    console = Console(0, 100)
    console.step(50)
    console.train(50, {'d_loss': 0.5, 'g_l1': 0.25, 'learning_rate': 1e-3}, 10.0, 20.0)
    console.close()
    assert capsys.readouterr().out == (
        'step 50/100  d_loss 0.5000  g_l1 0.2500  10.0 images/s  20 s left\n'
    )


def test_on_a_terminal_a_bar(capsys, monkeypatch):
    monkeypatch.setattr('sys.stderr.isatty', lambda: True, raising=False)
    console = Console(10, 100)
    console.step(20)
    console.train(20, {'g_l1': 0.25}, 10.0, 100.0)
    console.line('evaluated')
    console.close()
    captured = capsys.readouterr()
    assert captured.out == 'evaluated\n'
    assert '20/100' in captured.err
    assert 'g_l1 0.2500  10.0 images/s  2 min left' in captured.err


def test_the_time_left_counts_all_that_is_still_to_do(monkeypatch):
    """As long as each took last: 5 images in 10 s, a grid 3 s, a save 6 s, each 10 minutes one."""
    plan = Intervals(evaluate=40, sample=50, save=0, save_minutes=10.0, total_steps=100)
    durations, clock = Durations(plan, val_images=5, test_images=7), [0.0]
    monkeypatch.setattr(time, 'monotonic', lambda: clock[0])
    assert durations.left(30, 2.0) == 140.0  # nothing but steps is known yet
    for what, count, seconds in (('image', 5, 10), ('grid', 1, 3), ('save', 1, 6)):
        with durations.of(what, count):
            clock[0] += seconds
    # After steps 40, 80 and 100; 50 and 100; and on test, at the end.
    work = 140 + 3 * 10 + 2 * 3 + 7 * 2
    assert durations.left(30, 2.0) == pytest.approx(work + 6 * work / 600)
    assert durations.left(100, 2.0) == pytest.approx((7 * 2) * 1.01)
    of_a_flow = Durations(plan, 5, 7, test_cost=5.0)  # in 20 steps of Euler's, not 4
    with of_a_flow.of('image', 5):
        clock[0] += 10
    assert of_a_flow.left(100, 2.0) == 7 * 2 * 5
    by_steps = Durations(plan._replace(save=25, save_minutes=0.0), 5, 7)
    with by_steps.of('save'):
        clock[0] += 6
    assert by_steps.left(30, 2.0) == 140 + 3 * 6


def test_the_time_left_does_not_count_a_compilation_again(monkeypatch):
    plan = Intervals(evaluate=0, sample=10, save=0, save_minutes=0.0, total_steps=100)
    durations, clock = Durations(plan, val_images=0, test_images=0), [0.0]
    monkeypatch.setattr(time, 'monotonic', lambda: clock[0])
    with durations.of('grid'):
        jax.monitoring.record_event_duration_secs(progress.COMPILED, 34.0)
        clock[0] += 35
    assert durations.left(10, 0.0) == pytest.approx(9 * 1.0)


def test_jax_says_when_it_compiles():
    known = len(progress._compilations())
    jax.jit(lambda x: x * 3.25 + known)(1.0)
    assert len(progress._compilations()) > known

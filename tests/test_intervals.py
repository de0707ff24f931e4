import pytest
from helpers.runs import changed

from pix2pix_jax.intervals import NOTHING, Due, intervals


def due_of(steps, **fields):
    """The steps after which a run of so many evaluates, and draws."""
    plan = intervals(changed(**fields), steps)
    due = [plan.due_at(step) for step in range(1, steps + 1)]
    return tuple([i for i, one in enumerate(due, 1) if one[k]] for k in (0, 1))


def test_what_is_due_after_a_step():
    fields = {'checkpoint.every_steps': 4, 'checkpoint.every_minutes': 5}
    config = changed(eval_every=3, sample_every=0, **fields)
    plan = intervals(config, 13)
    evaluate, save = NOTHING._replace(evaluate=True), NOTHING._replace(save=True)
    assert [plan.due_at(step) for step in (1, 3, 4, 12)] == [
        NOTHING, evaluate, save, evaluate._replace(save=True),
    ]  # fmt: skip
    assert plan.due_at(1, minutes=4.9) == NOTHING and plan.due_at(1, minutes=5) == save
    last = Due(evaluate=True, sample=False, test=True, save=True)
    assert plan.due_at(13) == last  # all but what is off
    config.eval_every = config.checkpoint.every_steps = config.checkpoint.every_minutes = 0
    plan = intervals(config, 13)
    assert plan.due_at(12, minutes=1e9) == NOTHING
    assert plan.due_at(13) == Due(evaluate=False, sample=False, test=True, save=True)


@pytest.mark.parametrize(
    'steps, evaluate, sample',
    [
        (1, [1], [1]),
        (600, [500, 600], [250, 500, 600]),
        (3000, list(range(500, 3001, 500)), list(range(250, 3001, 250))),
        (80_000, list(range(4000, 80_001, 4000)), list(range(2000, 80_001, 2000))),
        (80_001, [*range(4001, 80_001, 4001), 80_001], [*range(2001, 80_001, 2001), 80_001]),
    ],
)
def test_by_default_so_many_a_run_never_more_often_and_at_the_end(steps, evaluate, sample):
    assert due_of(steps) == (evaluate, sample)
    assert len(evaluate) <= 20 and len(sample) <= 40
    assert due_of(steps, eval_every=0, sample_every=0) == ([], [])
    own = [*range(400, steps, 400), steps]
    assert due_of(steps, eval_every=400, sample_every=400) == (own, own)


@pytest.mark.parametrize('steps', [1, 9, 10, 12])
def test_what_is_left_is_what_will_be_due(steps):
    config = changed(eval_every=5, sample_every=3, **{'checkpoint.every_steps': 0})
    plan = intervals(config, steps)
    for step in range(steps + 1):
        later = [plan.due_at(s) for s in range(step + 1, steps + 1)]
        assert plan.left(step) == (sum(d.evaluate for d in later), sum(d.sample for d in later), 0)

import pytest

from pix2pix_jax.reports.progress import Console, duration


@pytest.mark.parametrize(
    ('seconds', 'text'),
    [(0.4, '0 s'), (89, '89 s'), (120, '2 min'), (3600, '60 min'), (12_000, '3 h 20 min')],
)
def test_duration(seconds, text):
    assert duration(seconds) == text


def test_without_a_terminal_a_log_is_a_line(capsys):
    console = Console(0, 100)
    console.step(50)
    console.train(50, {'d_loss': 0.5, 'g_l1': 0.25, 'learning_rate': 1e-3}, 10.0, 4)
    console.close()
    assert capsys.readouterr().out == (
        'step 50/100  d_loss 0.5000  g_l1 0.2500  10.0 images/s  20 s left\n'
    )


def test_on_a_terminal_a_bar(capsys, monkeypatch):
    monkeypatch.setattr('sys.stderr.isatty', lambda: True, raising=False)
    console = Console(10, 100)
    console.step(20)
    console.train(20, {'g_l1': 0.25}, 10.0, 1)
    console.line('evaluated')
    console.close()
    captured = capsys.readouterr()
    assert captured.out == 'evaluated\n'
    assert '20/100' in captured.err and 'g_l1 0.2500  10.0 images/s' in captured.err

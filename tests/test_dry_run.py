"""What a dry run says of the memory; tests/test_main.py has the command."""

import types

from helpers.runs import make_pairs, tiny_config

from pix2pix_jax.distributed import parallel
from pix2pix_jax.dry_run import dry_run


def test_where_the_backend_does_not_count_memory_it_says_so(tmp_path, monkeypatch, capsys):
    compiled = types.SimpleNamespace(memory_analysis=lambda: None)
    step = types.SimpleNamespace(lower=lambda *_: types.SimpleNamespace(compile=lambda: compiled))
    monkeypatch.setattr(parallel, 'compile_step', lambda *_: step)
    dry_run(tiny_config(make_pairs(tmp_path / 'pairs', {'train': 2, 'test': 1})), tmp_path / 'run')
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == 'memory of a step on each device: not known here'

"""What tells whether two reports were measured with the same weights."""

import os

from pix2pix_jax.evaluation import metrics
from pix2pix_jax.evaluation.options import Options

NAMES = ('fcn', 'lpips', 'fid', 'kid')


def options_of(folder):
    files = {name: str(folder / name) for name in metrics.FILES}
    return Options(NAMES, **files)


def test_weights_are_known_by_what_they_hold(tmp_path):
    for folder in ('here', 'there'):
        (tmp_path / folder).mkdir()
        for name in metrics.FILES:
            (tmp_path / folder / name).write_text(name)
    here, there = options_of(tmp_path / 'here'), options_of(tmp_path / 'there')
    first = metrics.identity(here)
    assert first == metrics.identity(there) and metrics.otherwise(first, there) == []
    assert all('sha256 ' in first[name] for name in NAMES)
    for name, file in (('fcn', 'segmenter_weights'), ('lpips', 'lpips_weights')):
        path = tmp_path / 'here' / file
        status = path.stat()
        path.write_text('other weights')
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
        assert name in metrics.otherwise(first, here)


def test_reports_of_earlier_versions_name_files_by_their_paths(tmp_path):
    for name in metrics.FILES:
        (tmp_path / name).write_text(name)
    options = options_of(tmp_path)
    earlier = {'classes': options.classes, 'ssim': metrics.identity(options)['ssim']}
    earlier |= {'fcn': f'{options.segmenter_weights} {options.classes}'}
    earlier |= {'lpips': f'{options.alexnet_weights} {options.lpips_weights}'}
    earlier |= dict.fromkeys(('fid', 'kid'), options.inception_weights)
    assert metrics.otherwise(earlier, options) == []
    assert metrics.otherwise(earlier | {'fid': 'other.pth'}, options) == ['fid']
    assert metrics.otherwise({}, metrics.PAIRS_ALONE) == ['ssim']

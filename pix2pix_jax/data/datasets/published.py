"""The paper's data sets: where they come from, and how many pairs they have (section 6.3)."""

from typing import NamedTuple

# In the order in which they are tried. All archives hold {train,val,test}/*.jpg, A on the left.
MIRRORS = (
    'http://efrosgans.eecs.berkeley.edu/pix2pix/datasets/{}.tar.gz',
    'https://people.eecs.berkeley.edu/~tinghuiz/projects/pix2pix/datasets/{}.tar.gz',
)


class Published(NamedTuple):
    """A published data set."""

    title: str
    counts: dict[str, int]  # pairs of each split, where they are known
    homepage: str
    licence: str
    archives: tuple[str, ...] = ()  # to be placed by hand: the host gives them to members alone


PUBLISHED = {
    'facades': Published(
        'CMP facades: photo | labels',
        {'train': 400, 'val': 100, 'test': 106},
        'https://cmp.felk.cvut.cz/~tylecr1/facade/',
        'the terms of the CMP Facade Database apply',
    ),
    'maps': Published(
        'Google Maps: aerial photo | map',
        {'train': 1096, 'val': 1098},
        'https://phillipi.github.io/pix2pix/',
        'the terms of Google Maps apply',
    ),
    'edges2shoes': Published(
        'UT Zappos50K: edges | shoes',
        {'train': 49825, 'val': 200},
        'https://vision.cs.utexas.edu/projects/finegrained/utzap50k/',
        'for academic, non-commercial use',
    ),
    'edges2handbags': Published(
        'Amazon handbags of iGAN: edges | handbags',
        {'train': 138567, 'val': 200},
        'https://github.com/junyanz/iGAN',
        'the terms of the photos apply',
    ),
    'night2day': Published(
        'Transient attributes: night | day',
        {'train': 17823, 'test': 2287},
        'http://transattr.cs.brown.edu/',
        'the terms of the photos apply',
    ),
    'cityscapes': Published(
        'Cityscapes: photo | labels, each resized to 256x256, as published for pix2pix',
        {'train': 2975, 'val': 500},
        'https://www.cityscapes-dataset.com/',
        'non-commercial; the licence asks for registration and forbids passing the data on',
        ('leftImg8bit_trainvaltest.zip', 'gtFine_trainvaltest.zip'),
    ),
}

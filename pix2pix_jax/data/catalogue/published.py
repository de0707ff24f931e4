"""The paper's data sets: where they come from, and how many pairs they have (section 6.3)."""

from typing import NamedTuple

# In the order in which they are tried. All archives hold {train,val,test}/*.jpg, A on the left.
MIRRORS = (
    'http://efrosgans.eecs.berkeley.edu/pix2pix/datasets/{}.tar.gz',
    'https://people.eecs.berkeley.edu/~tinghuiz/projects/pix2pix/datasets/{}.tar.gz',
)


class PublishedDataset(NamedTuple):
    """A published data set."""

    title: str
    counts: dict[str, int]  # pairs of each split, where they are known
    homepage: str
    licence: str
    # Of the archive of pairs, as recorded by github.com/TheProjectsGuy/MLHub, not by its authors: a
    # difference is noted, no more.
    md5: str = ''
    archives: tuple[str, ...] = ()  # to be placed by hand: the host gives them to members alone


PUBLISHED = {
    'facades': PublishedDataset(
        'CMP facades: photo | labels',
        {'train': 400, 'val': 100, 'test': 106},
        'https://cmp.felk.cvut.cz/~tylecr1/facade/',
        'the terms of the CMP Facade Database apply',
        'e2e25dd517e9d15828416ab329da2854',
    ),
    'maps': PublishedDataset(
        'Google Maps: aerial photo | map',
        {'train': 1096, 'val': 1098},
        'https://phillipi.github.io/pix2pix/',
        'the terms of Google Maps apply',
        'e5f65d26eb288457f5ac056deb94d154',
    ),
    'edges2shoes': PublishedDataset(
        'UT Zappos50K: edges | shoes',
        {'train': 49825, 'val': 200},
        'https://vision.cs.utexas.edu/projects/finegrained/utzap50k/',
        'for academic, non-commercial use',
        '71da478b54fedde126e234a2a050bc15',
    ),
    'edges2handbags': PublishedDataset(
        'Amazon handbags of iGAN: edges | handbags',
        {'train': 138567, 'val': 200},
        'https://github.com/junyanz/iGAN',
        'the terms of the photos apply',
        '815592f22fa7f7534a286a25bb73bf03',
    ),
    'night2day': PublishedDataset(
        'Transient attributes: night | day',
        {'train': 17823, 'test': 2287},
        'http://transattr.cs.brown.edu/',
        'the terms of the photos apply',
        'fd21b1d447a1f927fed41aabedd85baa',
    ),
    'cityscapes': PublishedDataset(
        'Cityscapes: photo | labels, each resized to 256x256, as published for pix2pix',
        {'train': 2975, 'val': 500},
        'https://www.cityscapes-dataset.com/',
        'non-commercial; the licence asks for registration and forbids passing the data on',
        archives=('leftImg8bit_trainvaltest.zip', 'gtFine_trainvaltest.zip'),
    ),
}

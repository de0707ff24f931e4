"""The size that a run finds in its data: what networks take, near the files', at most 512."""

import itertools

import pytest
from helpers.pictures import config as of_folder
from helpers.pictures import side_by_side
from helpers.runs import changed

from pix2pix_jax.data import discover, image_size, preflight
from pix2pix_jax.models.factory import create_models

SIDES = (16, 31, 48, 100, 256, 311, 481, 600, 1080, 1920, 3000, 4000)


@pytest.mark.parametrize(
    ('found', 'expected'),  # (height, width)
    [
        ((256, 256), (256, 256)),
        ((286, 286), (256, 256)),
        ((64, 64), (64, 64)),
        ((600, 600), (512, 512)),
        ((512, 1024), (256, 512)),
        ((70, 200), (64, 192)),
        ((48, 48), (64, 64)),  # not 48, which no U-Net of 5 halvings takes
        ((5, 7), (32, 32)),
        ((311, 481), (320, 512)),  # not 256x512, whose proportions are others by 29%
        ((75, 99), (96, 128)),  # not 64x96
        ((60, 80), (64, 96)),
        ((133, 415), (128, 384)),  # multiples of 64, half of 128, not of 32
        ((3000, 4000), (384, 512)),
        ((1080, 1920), (288, 512)),
    ],
)
def test_a_size_is_near_that_of_the_files(found, expected):
    assert image_size.near(found, changed()) == expected


@pytest.mark.parametrize(
    'fields',
    [{}, {'generator__depth': 3}, {'generator__name': 'resnet'}, {'dataset__preprocess': 'crop'}],
)
def test_networks_take_every_size_that_is_found(fields):
    config = changed(discriminator__layers=0, **fields)
    for size in itertools.product(SIDES, SIDES):
        found = image_size.near(size, config)
        config.image_size = found
        create_models(config, 'cpu')
        unit = 32 if 'generator__depth' not in fields else 8
        assert max(found) <= max(image_size.MAX_SIDE, unit)
        if fields.get('dataset__preprocess') == 'crop' and min(size) >= unit:
            assert all(new <= old for new, old in zip(found, size))
        elif min(size) * 512 >= max(size) * 64 and min(size) >= 100:  # no thin strips
            assert image_size.change(size, found) <= 0.2, (size, found)


def test_a_size_that_is_asked_for_or_taken_as_it_is_has_no_maximum():
    assert image_size.near((3000, 4000), changed(dataset__preprocess='none')) == (3000, 4000)


def test_what_becomes_of_the_images_is_said(tmp_path):
    side_by_side(tmp_path / 'train', ['1.jpg', '2.jpg'], height=311, width=481)
    side_by_side(tmp_path / 'train', ['3.jpg'], height=100, width=100)
    config = of_folder(tmp_path)
    source = discover.open_splits(config)['train']

    def lines(size, **fields):
        config.update_from_flattened_dict({'image_size': size, **fields})
        return [line for line in preflight.report({'train': source}, config) if 'images of' in line]

    assert preflight.found_image_size(source, config) == (320, 512)
    assert lines((320, 512)) == [
        'images of 481x311 are resized to 512x320: to 106% of their width and 103% of their '
        'height; proportions change by 3%, of other sizes up to 60%'
    ]
    assert lines((320, 512), **{'dataset.preprocess': 'scale_width_and_crop'}) == [
        'images of 481x311 are scaled to 106%, and cropped to 512x320'
    ]
    assert lines((320, 512), **{'dataset.preprocess': 'crop'}) == [
        'images of 481x311 are enlarged to 106%, and cropped to 512x320: 97% of their area'
    ]


@pytest.mark.parametrize('size,new,warned', [
    ((64, 3), (64, 32), True),
    ((64, 640), (256, 256), True),
    ((256, 512), (256, 256), False),  # Cityscapes
])  # fmt: skip
def test_proportions_that_change_by_far_are_a_warning(size, new, warned):
    (line,) = image_size.about([size], size, changed(image_size=new))
    assert line.startswith('warning: images of ') == warned


def test_a_size_that_was_lowered_can_be_asked_for():
    config, large = changed(), (3000, 4000)
    config.image_size = image_size.near(large, config)
    assert image_size.about([large], large, config) == [
        'images of 4000x3000 are resized to 512x384: to 13%; proportions stay '
        '(larger: --config.image_size=HEIGHT,WIDTH)'
    ]
    config.image_size = (1024, 1024)
    assert 'larger' not in image_size.about([large], large, config)[0]
    config.image_size = large
    assert image_size.about([large], large, config) == []


def test_crops_are_said_to_be_parts_of_images():
    config, large = changed(), (3000, 4000)
    config.dataset.preprocess = 'crop'
    config.image_size = image_size.near(large, config)
    assert image_size.about([large], large, config) == [
        'images of 4000x3000 are not scaled, and cropped to 512x384: 1.6% of their area '
        '(larger: --config.image_size=HEIGHT,WIDTH)'
    ]

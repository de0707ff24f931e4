"""Lists the packages: those found, and configs/, installed as pix2pix_jax/configs."""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=['pix2pix_jax*']),
        'pix2pix_jax.configs',
        'pix2pix_jax.configs.reference',
    ],
    package_dir={'pix2pix_jax.configs': 'configs'},
)

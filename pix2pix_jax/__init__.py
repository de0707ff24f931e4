"""pix2pix in JAX and Flax. Importing the package starts nothing."""

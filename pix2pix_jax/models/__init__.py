"""The networks: generators, discriminator, and what builds them from a config."""

"""A run's folder: each file of it is read and written in one module."""

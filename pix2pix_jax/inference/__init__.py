"""Trained generators: loading a run, and translating images of any size with it."""

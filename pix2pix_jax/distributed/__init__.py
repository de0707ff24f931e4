"""Several devices and several hosts as one run, and the signals that stop it."""

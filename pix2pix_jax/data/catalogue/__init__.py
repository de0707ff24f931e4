"""The data sets that there are: the built-in one, and the published ones once prepared."""

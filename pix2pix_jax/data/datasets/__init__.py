"""The paper's data sets as tensorflow-datasets builders (which need no TensorFlow)."""

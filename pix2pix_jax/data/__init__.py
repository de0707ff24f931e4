"""From files to batches: sources of pairs, their augmentation, and the pipeline."""

from absl import logging

# With a jaxlib before 0.11 grain warns, as soon as it is imported, of a profiler that is not used.
logging.get_absl_logger().addFilter(lambda record: 'worker profiling' not in str(record.msg))

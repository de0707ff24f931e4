"""What is used of tensorboardX, without the PyTorch that it imports where that is installed.

It needs PyTorch for a type annotation alone, and importing that took more than half of the time
of all imports, and memory for the whole run.
"""

import sys

without_torch = 'torch' not in sys.modules
if without_torch:
    # `import torch` raises ImportError, which tensorboardX expects.
    sys.modules['torch'] = None  # type: ignore[assignment]
try:
    from tensorboardX import summary
    from tensorboardX.event_file_writer import EventsWriter
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.summary_pb2 import Summary
finally:
    if without_torch:
        del sys.modules['torch']

__all__ = ['Event', 'EventsWriter', 'Summary', 'summary']

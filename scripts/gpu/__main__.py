"""Runs one part of scripts/gpu_report.py in this process: python -m gpu PART PLAN.json RESULT.json.

RESULT.json holds what the part has found so far: {'results': …[, 'missing': …][, 'failed': …]}.
"""

import json
import os
import pathlib
import sys
import traceback

from gpu.context import Missing, Result, read_context
from gpu.parts import function_of
from pix2pix_jax.storage import atomic


def main(name: str, context_file: str, result_file: str) -> int:
    """Runs the part; returns 0 where it went well or what it needs is missing."""
    found: Result = {}
    more: dict[str, str] = {}

    def write(results: Result) -> None:
        found.update(results)
        atomic.write_text(result_file, json.dumps({'results': found} | more))

    write({})
    try:
        function_of(name)(read_context(pathlib.Path(context_file)), write)
    except Missing as missing:
        more['missing'] = str(missing)
    except Exception as error:  # whatever it is: the other parts still run
        traceback.print_exc()
        more['failed'] = f'{type(error).__name__}: {error}'
    write({})
    return 1 if 'failed' in more else 0


if __name__ == '__main__':
    status = main(*sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # not after processes that are stuck in a driver

"""Serves the page of a run: what the command demo does, once its flags are read."""

import ipaddress
import socket
import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from pix2pix_jax.errors import UserError
from pix2pix_jax.inference import run_splits
from pix2pix_jax.web import drawing, page
from pix2pix_jax.workdir import run_files

if TYPE_CHECKING:
    import gradio

MAX_UPLOAD_BYTES = 20 * 2**20
# What the page asks for. Gradio answers much more: calls by name, logs, accounts, a proxy.
PATHS = ('/', '/config', '/favicon.ico', '/manifest.json', '/theme.css')
FOLDERS = ('/assets/', '/static/', '/svelte/')
API = ('file=', 'heartbeat/', 'queue/data', 'queue/join', 'startup-events', 'upload')
Asgi = Callable[[Any, Any, Any], Awaitable[None]]


def serve_run(workdir: str, checkpoint: str, host: str, port: int) -> None:
    """Serves the page of a run until the process is stopped, and says its address on stdout.

    Args:
      workdir: folder of the run.
      checkpoint: 'last', 'best' or a step.
      host: address to listen on.
      port: 0 for any that is free.

    Raises:
      UserError: for a host or port that cannot be listened on, a run or checkpoint that is not
        there or does not fit into memory, and a run whose inputs cannot be drawn.
    """
    port = free_port(host, port)  # before what takes seconds
    from pix2pix_jax.distributed import memory
    from pix2pix_jax.inference.translator import Translator
    from pix2pix_jax.runtime import prepare_process

    prepare_process()
    allowed = 'allowed is JAX_PLATFORMS=cpu before the command, where an accelerator is too full'
    with memory.one_line('the run', allowed):
        translator = Translator(workdir, checkpoint)
    splits, why = run_splits.whole_splits(workdir, translator.config)
    drawing.check(translator.config, splits, workdir)
    split, pictures = drawing.samples(translator.config, splits)
    if not pictures:
        print(f'no samples to choose from: {why or "none of the pairs can be read"}', flush=True)
    colours = drawing.palette(translator.config, pictures, workdir)
    name = run_files.run_name(workdir)
    serve(page.create_page(translator, name, split, pictures, colours), host, port)


def free_port(host: str, port: int) -> int:
    """Returns `port`, or a free one for 0; raises UserError where it is taken or `host` is none."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            return probe.getsockname()[1]
    except socket.gaierror as error:
        raise UserError(
            f'--host={host}: {error.strerror}; allowed is an address of this machine'
        ) from error
    except OSError as error:
        raise UserError(
            f'--host={host} --port={port}: {error.strerror}; give another, as --port=0 for any '
            'that is free'
        ) from error


def only_the_page(app: Asgi) -> Asgi:
    """Returns `app` where only what the page asks for is answered, and all else with 404."""
    from starlette.responses import PlainTextResponse

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        if scope['type'] == 'http' and not is_of_the_page(scope['path']):
            await PlainTextResponse('there is no such page', 404)(scope, receive, send)
        else:
            await app(scope, receive, send)

    return answer


def is_of_the_page(path: str) -> bool:
    """Whether the page asks for `path`, an address without its host."""
    api = tuple(f'/gradio_api/{name}' for name in API)
    return '..' not in path and (path in PATHS or path.startswith(FOLDERS + api))


def serve(blocks: 'gradio.Blocks', host: str, port: int) -> None:
    """Serves a page until the process is stopped."""
    name = f'[{host}]' if ':' in host else host  # IPv6 in an address
    launch(blocks, name, port)
    print(f'http://{name}:{port}', flush=True)
    if not is_loopback(host):
        print('others who reach this machine can use the page; stop it with Ctrl-C', flush=True)
    try:
        threading.Event().wait()
    finally:
        blocks.close(verbose=False)


def launch(blocks: 'gradio.Blocks', name: str, port: int) -> None:
    """Serves a page in a thread, at an address as browsers write it."""
    import gradio as gr
    from starlette.middleware import Middleware

    blocks.launch(
        server_name=name,
        server_port=port,
        share=False,
        quiet=True,
        prevent_thread_lock=True,
        show_error=True,
        max_file_size=MAX_UPLOAD_BYTES,
        footer_links=[],
        enable_monitoring=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        app_kwargs={'middleware': [Middleware(only_the_page)]},
        theme=gr.themes.Default(font=['system-ui', 'sans-serif'], font_mono=['monospace']),
        css=page.CSS,
    )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a page at `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == 'localhost'

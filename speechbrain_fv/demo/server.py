"""Opens the page on a port, and deletes uploads at the end."""

import ipaddress
import os
import signal
import socket
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from importlib.util import find_spec

from speechbrain_fv.demo.limits import Limits, check_limits
from speechbrain_fv.shipped import install_command

SETTINGS = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
STORED_REQUESTS = 8
"""Largest requests' worth of uploads that are kept at once."""

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")


def serve(model, host="127.0.0.1", port=7860, limits=None, detector=None):
    """Serves the page until the process is interrupted or terminated; says where on stderr.

    Arguments
    ---------
    model : FaceVoiceAssociation
        On images and speech.
    host : str
        Address to listen at; the default can be reached from this computer only.
    port : int
        In 1 to 65535.
    limits : Limits, optional
    detector : FaceDetector, optional

    Raises
    ------
    ValueError
        If the model takes vectors, a bound is not above 0, the port cannot be used, or Gradio is
        not installed.
    """
    limits = Limits() if limits is None else limits
    check_serving(host, port, limits)
    with tempfile.TemporaryDirectory(prefix="speechbrain-fv-") as folder, _terminable():
        uploads = os.path.join(folder, "uploads")
        os.mkdir(uploads)
        # Gradio reads these while it is imported.
        os.environ.update(SETTINGS, GRADIO_TEMP_DIR=uploads)
        from speechbrain_fv.demo.answers import Comparer
        from speechbrain_fv.demo.invented import write_invented
        from speechbrain_fv.demo.page import build_page

        people = write_invented(os.path.join(folder, "invented"))
        page = build_page(Comparer(model, limits, detector), people)
        try:
            address = _launch(page, host, port, limits, uploads)
            print(f"open {address} (Ctrl-C stops)", file=sys.stderr, flush=True)
            if not _is_loopback(host):
                print("others can reach this page: it asks for no password", file=sys.stderr)
            while True:
                time.sleep(min(60, 6 * limits.minutes))
                _delete_old(uploads, 60 * limits.minutes)
        finally:
            page.close(verbose=False)


def check_serving(host, port, limits):
    """Raises ValueError where `serve` would, whatever the model; takes no time."""
    check_limits(limits)
    if find_spec("gradio") is None:
        raise ValueError(f"the page needs Gradio; {install_command('demo')}")
    if not 0 < port < 65536:
        raise ValueError(f"port: expected 1 to 65535, got {port}")
    try:
        with socket.create_server(
            (host.strip("[]"), port), family=socket.AF_INET6 if ":" in host else socket.AF_INET
        ):
            pass
    except OSError as error:
        raise ValueError(
            f"port {port} of {host} cannot be used ({error.strerror or error}); choose another "
            "--port"
        ) from error


def _launch(page, host, port, limits, folder):
    """Starts the server in a thread; returns the page's address."""
    import gradio
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    from speechbrain_fv.demo.guard import Guard
    from speechbrain_fv.demo.rendering import CSS, JS

    largest_upload = (limits.files + 1) * (limits.bytes + 10_000)
    guard = Middleware(Guard, largest_upload, folder, STORED_REQUESTS * largest_upload)
    middleware = [guard]
    if _is_loopback(host):  # a site whose name points to this machine could otherwise read the page
        middleware.insert(0, Middleware(TrustedHostMiddleware, allowed_hosts=LOOPBACK_NAMES))
    _, address, _ = page.launch(
        server_name=f"[{host.strip('[]')}]" if ":" in host else host,
        server_port=port,
        prevent_thread_lock=True,
        quiet=True,
        share=False,
        inbrowser=False,
        show_error=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        run_history=False,
        footer_links=[],
        max_file_size=limits.bytes,
        theme=gradio.themes.Default(
            primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["monospace"]
        ),
        css=CSS.read_text(encoding="utf-8"),
        head=f"<script>{JS.read_text(encoding='utf-8')}</script>",
        app_kwargs={"middleware": middleware, "openapi_url": None},
    )
    return address


def _delete_old(folder, seconds):
    """Deletes files older than some seconds, and folders that are then empty.

    Gradio's own `delete_cache` leaves folders, uploads that were refused, and empty files.
    """
    oldest = time.time() - seconds
    for parent, folders, names in os.walk(folder, topdown=False):
        for remove, found in ((os.remove, names), (os.rmdir, folders)):
            for name in found:
                with suppress(OSError):  # a folder that is not empty
                    if os.stat(path := os.path.join(parent, name)).st_mtime < oldest:
                        remove(path)


def _is_loopback(host):
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


@contextmanager
def _terminable():
    """Makes the signal that ends a service an ordinary exit, which deletes the uploads."""

    def leave(number, frame):
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

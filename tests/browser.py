"""A headless Chromium and a running page, for the tests that drive the one with the other."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager

from tests.paths import ROOT

OPTIONS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),  # beeps
]
SECONDS = 180


def find_chromium():
    """Returns the path of a Chromium or Chrome, or None."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)


@contextmanager
def chromium():
    """Yields a headless browser of playwright."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=OPTIONS)
        try:
            yield browser
        finally:
            browser.close()


def hear_interrupts():
    """To be called in a child: a suite started in the background has it ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Server:
    """The command `speechbrain-fv serve` in a process of its own.

    Arguments
    ---------
    bundle : path
    folder : path
        Its folder for temporary files.
    options : list of str
    """

    def __init__(self, bundle, folder, *options):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder, self.address = folder, f"http://127.0.0.1:{self.port}/"
        command = [sys.executable, "-m", "speechbrain_fv.commands", "serve", f"--model={bundle}"]
        self.process = subprocess.Popen(
            [*command, f"--port={self.port}", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            preexec_fn=hear_interrupts,
            env={**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(folder)},
        )
        self.printed = []
        self._open = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self._open.wait(SECONDS) and self.process.poll() is None, "".join(self.printed)

    def _read(self):
        for line in self.process.stdout:
            self.printed.append(line)
            if line.startswith("open "):
                self._open.set()
        self._open.set()

    def stop(self, number=signal.SIGINT):
        """Returns the exit code after a signal; 0 or more, or -number where the signal killed."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(SECONDS)
        self._reader.join(SECONDS)
        return code


class Visitor:
    """Someone with the page open.

    Arguments
    ---------
    browser : playwright's Browser
    address : str
    options
        Of the browser's context, such as viewport.
    """

    def __init__(self, browser, address, **options):
        self.context = browser.new_context(permissions=["microphone"], **options)
        self.context.set_default_timeout(1000 * SECONDS)
        self.page = self.context.new_page()
        self.requests, self.errors = [], []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(address)
        self.page.wait_for_selector("#face-rank")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.context.close()

    def open_tab(self, name):
        """Changes to a tab."""
        self.page.get_by_role("tab", name=name).click()

    def upload(self, place, *paths):
        """Puts files into the field with an id, and waits until the server has them."""
        field = self.page.locator(f"#{place}")
        with self.uploading():
            field.locator("input[type=file]").set_input_files([str(path) for path in paths])
        if place == "face-probe":
            field.get_by_label("Clear").wait_for()
        else:
            field.get_by_text(paths[-1].stem).first.wait_for()

    def uploading(self):
        """Returns a context at whose end the server has received a file."""
        return self.page.expect_response(re.compile(r"/upload(\?|$)"))

    def rank(self, kind):
        """Presses the button; returns the text of the answer, which differs from the last."""
        shown = f"#{kind}-result :is(.fv-result, .fv-problem)"
        self.page.evaluate("shown => document.querySelector(shown)?.classList.add('seen')", shown)
        self.page.locator(f"#{kind}-rank").click()
        self.page.wait_for_selector(f"{shown}:not(.seen)")
        return self.page.locator(shown).inner_text()

    def ranking(self, kind):
        """Returns [(name, score, probability)] as the page shows it, best first."""
        rows = self.page.locator(f"#{kind}-result ol.fv-ranks > li")
        return rows.evaluate_all(
            "rows => rows.map(row => [row.dataset.name, Number(row.dataset.score), "
            "Number(row.dataset.probability)])"
        )

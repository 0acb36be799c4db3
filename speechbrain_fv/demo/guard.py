"""Refuses large requests to the page's server, and those that would fetch from elsewhere."""

import json
import os
from contextlib import suppress
from urllib.parse import urlsplit

from starlette.responses import PlainTextResponse

LARGEST_MESSAGE = 1_000_000
"""Bytes of a request that is no upload: names of files and the state of a checkbox."""

HEADERS = {
    "content-security-policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' data: "
        "blob:; font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:; "
        "frame-ancestors 'none'; form-action 'none'; base-uri 'self'; object-src 'none'"
    ),
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class Guard:
    """ASGI middleware that bounds requests and keeps server and browser from other machines.

    Gradio would fetch addresses that a visitor names, reads uploads of any total size, and takes
    what another site, open in the same browser, posts to it.

    Arguments
    ---------
    app : ASGI application
    largest_upload : int
        Bytes of a request that uploads files.
    folder : path
        Where uploads are kept.
    largest_store : int
        Bytes of the folder's files and of uploads on their way to it, together.
    """

    def __init__(self, app, largest_upload, folder, largest_store):
        self.app, self.largest_upload = app, largest_upload
        self.folder, self.largest_store, self.arriving = folder, largest_store, 0

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        refusal, receive = await self._refusal(scope, receive)
        app = refusal or self.app
        size = _upload_bytes(scope) if refusal is None else 0
        self.arriving += size
        try:
            return await app(scope, receive, _with_headers(send))
        finally:
            self.arriving -= size

    async def _refusal(self, scope, receive):
        """Returns the answer to a request that is refused, or None, and its body to be read."""
        path = scope["path"]
        if "/proxy=" in path or "://" in path:
            return PlainTextResponse("no other addresses here", 403), receive
        if scope["method"] in ("GET", "HEAD"):
            return None, receive
        headers = dict(scope["headers"])
        origin = headers.get(b"origin")
        if origin is not None and urlsplit(origin).netloc != headers.get(b"host"):
            return PlainTextResponse("requests of other sites are refused", 403), receive
        if not headers.get(b"content-length", b"").isdigit():
            return PlainTextResponse("the size of the request is missing", 411), receive
        upload = _upload_bytes(scope)
        if int(headers[b"content-length"]) > (self.largest_upload if upload else LARGEST_MESSAGE):
            return PlainTextResponse("the request is too large", 413), receive
        if upload:
            stored = _folder_bytes(self.folder) + self.arriving
            if stored + upload > self.largest_store:
                return PlainTextResponse("too many uploads are kept; try again later", 507), receive
            return None, receive
        body = await _body(receive)
        if _names_address(body):
            return PlainTextResponse("no other addresses here", 403), receive
        return None, _replayed(body, receive)


def _upload_bytes(scope):
    """Returns the size of a request that uploads files, or 0 for any other request."""
    if scope["method"] != "POST" or not scope["path"].rstrip("/").endswith("/upload"):
        return 0
    return int(dict(scope["headers"])[b"content-length"])


def _folder_bytes(folder):
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # deleted meanwhile
                total += os.stat(os.path.join(parent, name)).st_size
    return total


async def _body(receive):
    parts, more = [], True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


def _replayed(body, receive):
    """Returns a `receive` that first repeats a body that was read already."""
    pending = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay():
        return pending.pop() if pending else await receive()

    return replay


def _names_address(body):
    """Whether JSON names a file by the address of another server.

    Example
    -------
    >>> _names_address(b'{"data": [{"path": "http://example.org/a.wav"}]}')
    True
    >>> _names_address(b'{"data": [{"path": "upload/a.wav", "url": "http://localhost/file=a"}]}')
    False
    """
    try:
        pending = [json.loads(body or b"null")]
    except (ValueError, RecursionError):
        return False
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            if isinstance(node.get("path"), str) and "://" in node["path"]:
                return True
            pending.extend(node.values())
        elif isinstance(node, list):
            pending.extend(node)
    return False


def _with_headers(send):
    async def sending(message):
        if message["type"] == "http.response.start":
            own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
            message = {**message, "headers": [*message.get("headers", []), *own]}
        await send(message)

    return sending

"""A small model hub on loopback, for the real client of huggingface_hub.

It speaks the part of the hub's protocol that a bundle needs: repositories, branches and tags,
commits (NDJSON), large files by Git LFS (basic transfer, sha256 checked), downloads with ETag and
ranges, and tokens. Every commit is a folder of real files. It has no Xet storage, so clients need
HF_HUB_DISABLE_XET=1. A test may look at each request, act in between, and cut the connection.
"""

import base64
import hashlib
import json
import os
import re
import shutil
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

import yaml

LFS_BYTES = 1000
"""Larger files, and weights, go by LFS."""


class Refusal(Exception):
    """An answer other than 200: status, the hub's error code and message."""

    def __init__(self, status, code="", message=""):
        super().__init__(status, code, message)
        self.status, self.headers = status, {"X-Error-Code": code, "X-Error-Message": message}


class Repository:
    """Commits as folders, branches and tags as files with the name of a commit."""

    def __init__(self, folder):
        self.folder = folder

    def create(self, private):
        (self.folder / "refs").mkdir(parents=True)
        (self.folder / "private").write_text(str(int(private)))
        self.commit("main", {".gitattributes": b"*.safetensors filter=lfs\n"})

    @property
    def exists(self):
        return self.folder.is_dir()

    @property
    def private(self):
        return (self.folder / "private").read_text() == "1"

    def ref(self, name):
        return self.folder / "refs" / quote(name, safe="")

    def resolve(self, revision):
        """Returns the commit of a branch, a tag or a commit."""
        if self.ref(revision).is_file():
            return self.ref(revision).read_text()
        if re.fullmatch("[0-9a-f]{40}", revision) and (self.folder / revision).is_dir():
            return revision
        raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")

    def files(self, revision):
        """Returns the paths of the files of a revision by name."""
        folder = self.folder / self.resolve(revision)
        return {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}

    def commit(self, branch, changes):
        """Adds files, bytes or paths by name, on top of a branch; returns the new commit."""
        parent = self.ref(branch).read_text() if self.ref(branch).is_file() else None
        number = len(list(self.folder.iterdir()))
        oid = hashlib.sha1(f"{parent} {number} {sorted(changes)}".encode()).hexdigest()
        partial = self.folder / f".{oid}"
        if parent:
            shutil.copytree(self.folder / parent, partial, copy_function=os.link)
        partial.mkdir(exist_ok=True)
        for name, content in changes.items():
            target = partial / name
            target.unlink(missing_ok=True)
            if isinstance(content, bytes):
                target.write_bytes(content)
            else:
                os.link(content, target)
        partial.rename(self.folder / oid)
        self.ref(branch).write_text(oid)
        return oid


class Hub(ThreadingHTTPServer):
    """The hub; use `running`.

    Attributes
    ----------
    requests : list of str
        Method and path of what was asked, in order.
    watch : callable
        Called with the method and path of each request. It may return a number of bytes: after
        so many of the content, sent or received, the connection is cut.
    """

    daemon_threads = True

    def __init__(self, folder, tokens):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder, self.tokens = Path(folder), tokens
        self.requests, self.watch = [], lambda method, path: None
        self.lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_port}"

    def repository(self, name):
        return Repository(self.folder / name)

    def handle_error(self, request, client_address):
        """Leaves a connection that was cut without a word."""


@contextmanager
def running(folder, tokens):
    """Yields a `Hub` that keeps its repositories in a folder.

    Arguments
    ---------
    folder : Path
    tokens : dict of str to bool
        Whether the owner of each token may write.
    """
    hub = Hub(folder, tokens)
    thread = threading.Thread(target=hub.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        thread.join()
        hub.server_close()


class _Cut(Exception):
    """The connection is to be cut."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        """Keeps the terminal clean."""

    def _answer(self):
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append(f"{self.command} {path}")
        self.cut_after = None
        try:
            self.cut_after = self.server.watch(self.command, path)
            body = self._receive()
            for methods, pattern, action in _ROUTES:
                match = re.fullmatch(pattern, path)
                if match and self.command in methods.split():
                    with self.server.lock:
                        status, headers, content = action(self, body, *match.groups())
                    return self._send(status, headers, content)
            self._send(404, {}, b"{}")
        except Refusal as refusal:
            self._send(refusal.status, refusal.headers, b"{}")
        except _Cut:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    do_GET = do_HEAD = do_POST = do_PUT = _answer

    def _receive(self):
        length = int(self.headers.get("Content-Length", 0))
        if self.command in ("POST", "PUT") and self.cut_after is not None:
            self.rfile.read(min(length, self.cut_after))
            raise _Cut
        return self.rfile.read(length)

    def _send(self, status, headers, content):
        self.send_response(status)
        for name, value in {"Content-Length": len(content), **headers}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.cut_after is not None:
            self.wfile.write(content[: self.cut_after])
            raise _Cut
        self.wfile.write(content)

    def _json(self, content):
        return 200, {"Content-Type": "application/json"}, json.dumps(content).encode()

    def _permission(self):
        """Returns None without a token, or whether its owner may write."""
        header = self.headers.get("Authorization")
        if header is None:
            return None
        token = header.removeprefix("Bearer ")
        if token not in self.server.tokens:
            raise Refusal(401, "", "Invalid credentials in Authorization header")
        return self.server.tokens[token]

    def _opened(self, name, write=False):
        """Returns a repository that the token opens."""
        permission, repository = self._permission(), self.server.repository(name)
        if not repository.exists or (repository.private and permission is None):
            raise Refusal(
                401 if permission is None else 404, "RepoNotFound", "Repository not found"
            )
        if write:
            self._check_write(permission)
        return repository

    def _check_write(self, permission):
        if permission is None:
            raise Refusal(401, "", "Invalid username or password.")
        if not permission:
            raise Refusal(403, "", "you must use a write token to upload to a repository.")

    def create_repository(self, body):
        self._check_write(self._permission())
        options = json.loads(body)
        name = f"{options['organization']}/{options['name']}"
        if self.server.repository(name).exists:
            raise Refusal(409, "", "You already created this model repo")
        self.server.repository(name).create(options.get("visibility") == "private")
        return self._json({"url": f"{self.server.url}/{name}"})

    def describe(self, body, name, revision=None):
        repository = self._opened(name)
        oid = repository.resolve(revision or "main")
        return self._json({"id": name, "sha": oid, "private": repository.private, "tags": []})

    def create_branch(self, body, name, branch):
        repository = self._opened(name, write=True)
        if repository.ref(branch).is_file():
            raise Refusal(409, "", "Reference already exists")
        repository.ref(branch).write_text(repository.resolve("main"))
        return self._json({})

    def create_tag(self, body, name, revision):
        repository = self._opened(name, write=True)
        repository.ref(json.loads(body)["tag"]).write_text(repository.resolve(revision))
        return self._json({})

    def list_paths(self, body, name, revision):
        files = self._opened(name).files(revision)
        wanted = parse_qs(body.decode())["paths"]
        return self._json([_description(path, files[path]) for path in wanted if path in files])

    def validate_card(self, body):
        text = json.loads(body)["content"]
        try:
            assert isinstance(yaml.safe_load(text.split("---\n")[1])["license"], str)
        except (yaml.YAMLError, AssertionError, IndexError, KeyError) as error:
            content = json.dumps({"errors": [{"message": f"bad metadata: {error}"}]}).encode()
            return 400, {"Content-Type": "application/json"}, content
        return self._json({})

    def preupload(self, body, name, revision):
        self._opened(name, write=True)
        return self._json(
            {
                "files": [
                    {
                        "path": file["path"],
                        "uploadMode": "lfs" if _is_large(file["path"], file["size"]) else "regular",
                        "shouldIgnore": False,
                    }
                    for file in json.loads(body)["files"]
                ]
            }
        )

    def lfs_batch(self, body, name):
        self._opened(name, write=True)
        objects = json.loads(body)["objects"]
        for item in objects:
            if not (self.server.folder / "lfs" / item["oid"]).is_file():
                item["actions"] = {"upload": {"href": f"{self.server.url}/lfs/{item['oid']}"}}
        return self._json({"transfer": "basic", "objects": objects})

    def lfs_put(self, body, oid):
        if hashlib.sha256(body).hexdigest() != oid:
            raise Refusal(400, "", "The sha256 of the content is another")
        path = self.server.folder / "lfs" / oid
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(body)
        return 200, {}, b""

    def commit(self, body, name, branch):
        repository = self._opened(name, write=True)
        changes = {}
        for line in body.splitlines():
            item = json.loads(line)
            value = item["value"]
            if "parentCommit" in value and value["parentCommit"] != repository.resolve(branch):
                raise Refusal(412, "", "A commit has happened since")
            if item["key"] == "file":
                changes[value["path"]] = base64.b64decode(value["content"])
            if item["key"] == "lfsFile":
                changes[value["path"]] = self.server.folder / "lfs" / value["oid"]
        oid = repository.commit(branch, changes)
        url = f"{self.server.url}/{name}/commit/{oid}"
        return self._json({"success": True, "commitOid": oid, "commitUrl": url})

    def resolve(self, body, name, revision, path):
        repository = self._opened(name)
        oid, files = repository.resolve(revision), repository.files(revision)
        if path not in files:
            raise Refusal(404, "EntryNotFound", "Entry not found")
        content = files[path].read_bytes()
        headers = {"X-Repo-Commit": oid, "ETag": f'"{hashlib.sha256(content).hexdigest()}"'}
        start = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if not start:
            return 200, headers, content
        first = int(start[1])
        headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
        return 206, headers, content[first:]


_MODEL = "/api/models/([^/]+/[^/]+)"
_ROUTES = (
    ("POST", "/api/repos/create", _Handler.create_repository),
    ("POST", "/api/validate-yaml", _Handler.validate_card),
    ("GET", _MODEL, _Handler.describe),
    ("GET", f"{_MODEL}/revision/(.+)", _Handler.describe),
    ("POST", f"{_MODEL}/branch/(.+)", _Handler.create_branch),
    ("POST", f"{_MODEL}/tag/(.+)", _Handler.create_tag),
    ("POST", f"{_MODEL}/paths-info/(.+)", _Handler.list_paths),
    ("POST", f"{_MODEL}/preupload/(.+)", _Handler.preupload),
    ("POST", f"{_MODEL}/commit/(.+)", _Handler.commit),
    ("POST", r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", _Handler.lfs_batch),
    ("PUT", "/lfs/([0-9a-f]{64})", _Handler.lfs_put),
    ("GET HEAD", "/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", _Handler.resolve),
)


def _is_large(path, size):
    return size > LFS_BYTES or path.endswith(".safetensors")


def _description(name, path):
    content = path.read_bytes()
    item = {"type": "file", "path": name, "size": len(content)}
    item["oid"] = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    if _is_large(name, len(content)):
        sha256 = hashlib.sha256(content).hexdigest()
        item["lfs"] = {"oid": sha256, "size": len(content), "pointerSize": 130}
    return item

"""Uploads and downloads by the real client, against a hub on loopback: whole, or not at all."""

import functools
import itertools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from speechbrain_fv.bundles import hub as bundle_hub
from tests import hub_server
from tests.paths import ROOT

WRITER, READER = "hf_writer", "hf_reader"
TOKENS = {WRITER: True, READER: False}
WEIGHTS = 3_000_000
SECONDS = 180
NUMBERS = itertools.count()

# Reads one call a line and answers each with its error, its result, and the seconds for which the
# client of the hub wanted to wait between retries: up to 23, of which it waits the fiftieth part.
CALLS = """
import json, sys, time
wait, waits = time.sleep, []
time.sleep = lambda seconds: (waits.append(seconds), wait(seconds / 50))
from speechbrain_fv.bundles import hub
print(json.dumps("ready"), flush=True)
for line in sys.stdin:
    name, arguments = json.loads(line)
    waits.clear()
    try:
        result = getattr(hub, name)(**arguments)
        answer = ["", result if isinstance(result, tuple) else str(result), sum(waits)]
    except Exception as error:
        answer = [type(error).__name__, str(error), sum(waits)]
    print(json.dumps(answer), flush=True)
"""


class Client:
    """A process of its own in which the client of huggingface_hub is loaded for an endpoint."""

    def __init__(self, endpoint, home, **environment):
        self.process = subprocess.Popen(
            [sys.executable, "-c", CALLS],
            cwd=ROOT,
            env={
                **{key: value for key, value in os.environ.items() if not key.startswith("HF_")},
                "HF_ENDPOINT": endpoint,
                "HF_HOME": str(home),
                "HF_HUB_DISABLE_XET": "1",  # the hub on loopback has no Xet storage
                "HF_HUB_DISABLE_PROGRESS_BARS": "1",
                "PYTHONPATH": str(ROOT),
                **environment,
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=open(Path(home, "stderr.txt"), "a"),  # noqa: SIM115, lives as the process
            text=True,
        )
        self.ready = False

    def answer(self):
        assert select.select([self.process.stdout], [], [], SECONDS)[0], "no answer"
        return json.loads(self.process.stdout.readline())

    def send(self, name, **arguments):
        if not self.ready:  # processes start side by side
            self.ready = self.answer() == "ready"
        self.process.stdin.write(json.dumps([name, arguments]) + "\n")
        self.process.stdin.flush()

    def call(self, name, **arguments):
        """Returns the result of a call that succeeds."""
        self.send(name, **arguments)
        error, result, self.waited = self.answer()
        assert not error, result
        return bundle_hub.Commit(*result) if name == "push" else Path(result)

    def fail(self, name, **arguments):
        """Returns type and text of the error of a call that fails, which must be one line."""
        self.send(name, **arguments)
        error, text, self.waited = self.answer()
        assert error in ("ValueError", "OSError") and "\n" not in text, (error, text)
        return f"{error}: {text}"

    def close(self):
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            stream.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with hub_server.running(tmp_path_factory.mktemp("hub"), TOKENS) as server:
        yield server


@pytest.fixture
def hub(server):
    server.requests.clear()
    yield server
    server.watch = lambda method, path: None


@pytest.fixture(scope="module")
def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture(scope="module")
def clients(server, free_port, tmp_path_factory):
    """Processes by name: most have one hub; `offline` and `lost`, whose hub is gone, do not."""
    settings = {
        "client": {},
        "victim": {},
        "offline": {"HF_HUB_OFFLINE": "1"},
        "lost": {"HF_ENDPOINT": f"http://127.0.0.1:{free_port}"},
    }
    started = {
        name: Client(server.url, tmp_path_factory.mktemp("home"), **environment)
        for name, environment in settings.items()
    }
    yield started
    for client in started.values():
        client.close()


@pytest.fixture
def client(clients):
    return clients["client"]


@pytest.fixture
def repo():
    """A name of a repository that no other test uses."""
    return f"owner/model-{next(NUMBERS)}"


def write_bundle(folder, mark):
    """Writes the files of a bundle, which differ with the mark, and one that is no part of it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in bundle_hub.MAX_BYTES:
        (folder / name).write_text(f"{name} of {mark}\n" * 100)
    (folder / "README.md").write_text(f"---\nlicense: apache-2.0\n---\n# {mark}\n")
    start = mark.encode().ljust(32)
    (folder / "model.safetensors").write_bytes(start + os.urandom(WEIGHTS))
    (folder / "secret.txt").write_text("not for others")
    return folder


def contents(folder):
    return {name: (Path(folder) / name).read_bytes() for name in bundle_hub.FETCHED}


def cut(method, part, after, times):
    """Returns a `Hub.watch` that cuts some requests after so many bytes of their content."""
    left = [times]

    def watch(asked, path):
        if asked == method and part in path and left[0]:
            left[0] -= 1
            return after
        return None

    return watch


def test_a_bundle_comes_back_byte_by_byte(hub, client, repo, tmp_path):
    bundle = write_bundle(tmp_path / "bundle", "first")
    commit = client.call("push", folder=str(bundle), repo=repo, token=WRITER)
    assert commit == (f"{hub.url}/{repo}/commit/{commit.oid}", commit.oid)
    folder = client.call("fetch", source=repo, cache_folder=str(tmp_path / "cache"))
    assert contents(folder) == contents(bundle)
    assert sorted(path.name for path in folder.iterdir()) == sorted(bundle_hub.FETCHED)
    published = hub.repository(repo).files(commit.oid)
    assert sorted(published) == sorted([".gitattributes", *bundle_hub.MAX_BYTES])
    assert sum("/commit/" in request for request in hub.requests) == 1
    assert not hub.repository(repo).private


def test_revisions_stay_what_they_were(hub, client, repo, tmp_path):
    first, second = (write_bundle(tmp_path / mark, mark) for mark in ("first", "second"))
    old = client.call("push", folder=str(first), repo=repo, token=WRITER).oid
    hub.repository(repo).ref("v1.0").write_text(old)
    new = client.call("push", folder=str(second), repo=repo, token=WRITER).oid
    assert old != new
    asked = {"source": repo, "cache_folder": str(tmp_path / "cache")}
    folders = {
        revision: client.call("fetch", revision=revision, **asked)
        for revision in (old, "v1.0", new, "main", None)
    }
    for revision, bundle in ((old, first), ("v1.0", first), (new, second), (None, second)):
        assert contents(folders[revision]) == contents(bundle)
    assert folders["main"] == folders[None] != folders[old]
    hub.requests.clear()
    client.call("fetch", revision=old, **asked)
    assert not hub.requests  # pinned and cached: the hub is not asked
    assert "no such revision" in client.fail("fetch", revision="v2.0", **asked)
    assert "no such revision" in client.fail("fetch", revision="0" * 40, **asked)


def test_a_push_during_a_download_does_not_mix_versions(hub, client, repo, tmp_path):
    first, second = (write_bundle(tmp_path / mark, mark) for mark in ("first", "second"))
    client.call("push", folder=str(first), repo=repo, token=WRITER)
    pushed = []

    def push_between(method, path):
        if "/resolve/" in path and "model.safetensors" in path and not pushed:
            files = {name: second / name for name in bundle_hub.MAX_BYTES}
            pushed.append(hub.repository(repo).commit("main", files))

    hub.watch = push_between
    folder = client.call("fetch", source=repo, cache_folder=str(tmp_path / "cache"))
    assert pushed and contents(folder) == contents(first)
    assert contents(client.call("fetch", source=repo)) == contents(second)


def test_branches(hub, client, repo, tmp_path):
    first, second = (write_bundle(tmp_path / mark, mark) for mark in ("first", "second"))
    client.call("push", folder=str(first), repo=repo, token=WRITER)
    for _ in range(2):  # the branch is made, then used
        pushed = {"folder": str(second), "repo": repo, "token": WRITER, "branch": "next/try"}
        client.call("push", **pushed)
    assert contents(client.call("fetch", source=repo)) == contents(first)
    assert contents(client.call("fetch", source=repo, revision="next/try")) == contents(second)


def test_an_unchanged_bundle_is_no_new_version(hub, client, repo, tmp_path):
    pushed = {"folder": str(write_bundle(tmp_path, "same")), "repo": repo, "token": WRITER}
    first, again = (client.call("push", **pushed).oid for _ in range(2))
    sent = [request for request in hub.requests if request.startswith("PUT")]
    assert len(sent) == len(set(sent))  # no large file twice
    same = [hub.repository(repo).files(oid) for oid in (first, again)]
    assert [path.read_bytes() for path in same[0].values()] == [
        path.read_bytes() for path in same[1].values()
    ]


@pytest.mark.parametrize(
    ("method", "part", "after"),
    [("PUT", "/lfs/", 100_000), ("POST", "/commit/", 200), ("POST", "/preupload/", 10)],
)
def test_an_interrupted_upload_commits_nothing(hub, client, repo, tmp_path, method, part, after):
    first, second = (write_bundle(tmp_path / mark, mark) for mark in ("first", "second"))
    old = client.call("push", folder=str(first), repo=repo, token=WRITER).oid
    hub.watch = cut(method, part, after, times=1000)
    error = client.fail("push", folder=str(second), repo=repo, token=WRITER)
    assert "OSError" in error and "Run the same again" in error and WRITER not in error
    assert hub.repository(repo).resolve("main") == old
    hub.watch = lambda method, path: None
    new = client.call("push", folder=str(second), repo=repo, token=WRITER).oid
    assert contents(client.call("fetch", source=repo, revision=new)) == contents(second)


def test_a_first_upload_that_is_cut_leaves_no_model(hub, client, repo, tmp_path):
    bundle = write_bundle(tmp_path / "bundle", "first")
    hub.watch = cut("POST", "/commit/", 200, times=1)
    client.fail("push", folder=str(bundle), repo=repo, token=WRITER)
    error = client.fail("fetch", source=repo)
    assert "ValueError" in error and "no hyperparams.yaml, model.safetensors" in error
    client.call("push", folder=str(bundle), repo=repo, token=WRITER)
    assert contents(client.call("fetch", source=repo)) == contents(bundle)


def test_an_upload_goes_on_after_a_short_break(hub, client, repo, tmp_path):
    bundle = write_bundle(tmp_path / "bundle", "first")
    hub.watch = cut("PUT", "/lfs/", 100_000, times=2)
    client.call("push", folder=str(bundle), repo=repo, token=WRITER)
    assert contents(client.call("fetch", source=repo)) == contents(bundle)


def test_somebody_else_pushes_first(hub, client, repo, tmp_path):
    bundle = write_bundle(tmp_path / "bundle", "first")
    client.call("push", folder=str(bundle), repo=repo, token=WRITER)

    def push_between(method, path):
        if "/preupload/" in path:
            hub.repository(repo).commit("main", {"other.txt": b"mine"})

    hub.watch = push_between
    write_bundle(bundle, "second")
    error = client.fail("push", folder=str(bundle), repo=repo, token=WRITER)
    assert "OSError" in error and "somebody else changed the repository" in error


def test_an_interrupted_download_is_never_taken_for_whole(hub, client, repo, tmp_path):
    """The weights break off in the middle, again and again; then the hub is well."""
    bundle, cache = write_bundle(tmp_path / "bundle", "first"), tmp_path / "cache"
    client.call("push", folder=str(bundle), repo=repo, token=WRITER)
    hub.watch = cut("GET", "/model.safetensors", 0, times=1000)
    error = client.fail("fetch", source=repo, cache_folder=str(cache))
    assert "OSError" in error and "Run the same again" in error
    assert not [path for path in cache.rglob("*") if path.is_file() and "safetensors" in path.name]
    hub.watch = lambda method, path: None
    folder = client.call("fetch", source=repo, cache_folder=str(cache))
    assert contents(folder) == contents(bundle)


def test_a_download_goes_on_where_it_was_cut(hub, client, repo, tmp_path):
    bundle = write_bundle(tmp_path / "bundle", "first")
    client.call("push", folder=str(bundle), repo=repo, token=WRITER)
    hub.watch = cut("GET", "/model.safetensors", 1_000_000, times=2)
    hub.requests.clear()
    folder = client.call("fetch", source=repo, cache_folder=str(tmp_path / "cache"))
    assert contents(folder) == contents(bundle)
    assert sum("GET" in request and "safetensors" in request for request in hub.requests) == 3


def test_a_killed_download_leaves_nothing_that_is_used(hub, repo, clients, tmp_path):
    client, victim = clients["client"], clients["victim"]
    bundle, cache = write_bundle(tmp_path / "bundle", "first"), tmp_path / "cache"
    client.call("push", folder=str(bundle), repo=repo, token=WRITER)

    def kill(method, path):
        if method == "GET" and "safetensors" in path:
            victim.process.send_signal(signal.SIGKILL)
            victim.process.wait()

    hub.watch = kill
    victim.send("fetch", source=repo, cache_folder=str(cache))
    assert victim.process.wait(SECONDS) == -signal.SIGKILL
    hub.watch = lambda method, path: None
    assert contents(client.call("fetch", source=repo, cache_folder=str(cache))) == contents(bundle)


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ("hf_wrong", "does not accept the token"),
        (READER, "does not permit this; make one that may write"),
        (None, "does not accept the token; log in with `hf auth login`"),
        ("hf_two words\n", "token: expected a word"),
        ("hf_schlüssel", "token: expected a word"),
    ],
)
def test_uploads_need_a_token_that_may_write(hub, client, repo, tmp_path, token, reason):
    bundle = write_bundle(tmp_path / "bundle", "first")
    error = client.fail("push", folder=str(bundle), repo=repo, token=token)
    assert error.startswith("ValueError") and reason in error
    assert token is None or token.strip() not in error
    assert not hub.repository(repo).exists


def test_private_models_need_a_token(hub, client, repo, tmp_path):
    bundle = write_bundle(tmp_path / "bundle", "first")
    client.call("push", folder=str(bundle), repo=repo, token=WRITER, private=True)
    assert hub.repository(repo).private
    asked = {"source": repo, "cache_folder": str(tmp_path / "cache")}
    assert "for a private model log in" in client.fail("fetch", **asked)
    assert "does not accept the token" in client.fail("fetch", token="hf_wrong", **asked)
    assert contents(client.call("fetch", token=READER, **asked)) == contents(bundle)


def test_private_means_private(hub, client, repo, tmp_path):
    bundle = write_bundle(tmp_path / "bundle", "first")
    client.call("push", folder=str(bundle), repo=repo, token=WRITER)
    error = client.fail("push", folder=str(bundle), repo=repo, token=WRITER, private=True)
    assert "the repository is public, expected a private one" in error


@pytest.mark.parametrize(
    ("name", "reason"), [("offline", "HF_HUB_OFFLINE is set"), ("lost", "cannot be reached")]
)
def test_without_a_network_the_cache_is_used(hub, clients, repo, tmp_path, name, reason):
    """At once, without the client's wait for a hub that may come back, and with the remedy."""
    first, cache = write_bundle(tmp_path / "first", "first"), str(tmp_path / "cache")
    oid = clients["client"].call("push", folder=str(first), repo=repo, token=WRITER).oid
    clients["client"].call("fetch", source=repo, cache_folder=cache)
    alone, asked = clients[name], {"source": repo, "cache_folder": cache}
    for revision in (None, "main", oid):
        assert contents(alone.call("fetch", revision=revision, **asked)) == contents(first)
        assert alone.waited == 0
    for unknown in ({"source": repo}, {"revision": "v7", **asked}):
        error = alone.fail("fetch", **unknown)
        assert error.startswith("OSError") and reason in error and "not in" in error
        assert alone.waited == 0
    error = alone.fail("push", folder=str(first), repo=repo, token=WRITER)
    assert error.startswith("OSError") and WRITER not in error and alone.waited == 0


def test_of_a_hub_that_fails_the_cache_is_used(hub, client, repo, tmp_path):
    def fails(method, path):
        raise hub_server.Refusal(503)

    bundle, cache = write_bundle(tmp_path / "bundle", "first"), str(tmp_path / "cache")
    client.call("push", folder=str(bundle), repo=repo, token=WRITER)
    client.call("fetch", source=repo, cache_folder=cache)
    hub.watch = fails
    assert contents(client.call("fetch", source=repo, cache_folder=cache)) == contents(bundle)
    error = client.fail("fetch", source=repo, cache_folder=str(tmp_path / "other"))
    assert error.startswith("OSError") and "cannot be reached" in error and "not in" in error


def test_a_half_filled_cache_is_not_a_model_without_a_network(hub, clients, repo, tmp_path):
    bundle, cache = write_bundle(tmp_path / "bundle", "first"), tmp_path / "cache"
    client = clients["client"]
    oid = client.call("push", folder=str(bundle), repo=repo, token=WRITER).oid
    hub.watch = cut("GET", "/model.safetensors", 0, times=1000)
    client.fail("fetch", source=repo, cache_folder=str(cache))
    assert list(cache.rglob("hyperparams.yaml"))
    for revision in (None, oid):
        asked = {"source": repo, "cache_folder": str(cache), "revision": revision}
        error = clients["offline"].fail("fetch", **asked)
        assert "HF_HUB_OFFLINE is set" in error and "not in" in error


def test_an_endpoint_that_is_no_hub(clients, free_port, repo, tmp_path):
    """A proxy's sign-in page answers everything with HTML."""
    page = tmp_path / "api" / "models" / repo
    page.parent.mkdir(parents=True)
    page.write_text("<html>Please sign in</html>")
    answer = functools.partial(SimpleHTTPRequestHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", free_port), answer) as pages:
        thread = threading.Thread(target=pages.serve_forever)
        thread.start()
        error = clients["lost"].fail("fetch", source=repo)
        pages.shutdown()
        thread.join()
    assert "does not answer as a hub does; check HF_ENDPOINT" in error


def test_sizes_are_checked_before_the_download(hub, client, repo, tmp_path):
    bundle, cache = write_bundle(tmp_path / "bundle", "first"), tmp_path / "cache"
    client.call("push", folder=str(bundle), repo=repo, token=WRITER)
    bomb = b" " * (bundle_hub.MAX_BYTES["config.json"] + 1)
    hub.repository(repo).commit("main", {"config.json": bomb})
    error = client.fail("fetch", source=repo, cache_folder=str(cache))
    assert "config.json has 4,000,001 bytes, expected at most 4,000,000" in error
    assert not list(cache.rglob("config.json"))
    (bundle / "config.json").write_bytes(bomb)
    assert "expected at most" in client.fail("push", folder=str(bundle), repo=repo, token=WRITER)


def test_no_such_repository(client, repo):
    error = client.fail("fetch", source=repo, token=READER)
    assert error.startswith("ValueError") and "neither a folder nor a model" in error


@pytest.mark.parametrize(
    "name",
    [
        "name",
        "a/b/c",
        "owner/na me",
        "../name",
        "owner/..",
        "/etc/nothing",
        "owner/x--y",
        "",
        "a\nb/c",
    ],
)
def test_malformed_names(client, tmp_path, name):
    bundle = write_bundle(tmp_path / "bundle", "first")
    if name:  # "" is the working folder
        assert "no such folder; expected one, or owner/name" in client.fail("fetch", source=name)
    error = client.fail("push", folder=str(bundle), repo=name, token=WRITER)
    assert error.startswith("ValueError") and "owner/name" in error


@pytest.mark.parametrize("revision", ["../../x", "/etc", "a b", "", "a//b", "-x"])
def test_malformed_revisions(client, tmp_path, revision):
    error = client.fail("fetch", source="owner/name", revision=revision, cache_folder=str(tmp_path))
    assert "expected the name of a branch, tag or commit" in error
    assert not list(tmp_path.iterdir())


def test_a_local_folder_is_itself(tmp_path):
    bundle = write_bundle(tmp_path / "bundle", "first")
    assert bundle_hub.fetch(str(bundle)) == bundle
    with pytest.raises(ValueError, match="a local folder has no revisions, got 'main'"):
        bundle_hub.fetch(bundle, revision="main")
    for name in ("README.md", "report.json"):  # nothing of them is loaded
        (bundle / name).unlink()
    assert bundle_hub.fetch(bundle) == bundle
    (bundle / "config.json").unlink()
    with pytest.raises(ValueError, match=r"no config\.json; expected a bundle as recipes/publish"):
        bundle_hub.fetch(bundle)

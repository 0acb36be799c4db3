"""The page as it is served: what the server refuses, and a real browser that uses it."""

import http.client
import json
import re
import signal
import uuid
from pathlib import Path

import pytest

from speechbrain_fv.bundles.config import CAUTIONS
from speechbrain_fv.demo.invented import write_invented
from speechbrain_fv.demo.statement import error_statements
from speechbrain_fv.inference import FaceVoiceAssociation
from tests.browser import Server, Visitor, chromium, find_chromium
from tests.page_clips import FACES, LIMITS, VOICES, expected, files, same, write_clips

in_browser = pytest.mark.skipif(not find_chromium(), reason="no Chromium or Chrome is here")


@pytest.fixture(scope="module")
def model(bundle_folder):
    return FaceVoiceAssociation.from_hparams(bundle_folder)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return write_clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="module")
def server(bundle_folder, tmp_path_factory):
    """The page with narrow bounds; when it is stopped, its uploads are gone."""
    folder = tmp_path_factory.mktemp("server")
    options = ["--max_megabytes=1", "--max_files=4", "--max_seconds=5"]
    server = Server(bundle_folder, folder, *options)
    yield server
    assert list(folder.glob("speechbrain-fv-*"))
    assert server.stop(signal.SIGINT) == 130
    assert not list(folder.iterdir())
    assert len(server.printed) == 1, "".join(server.printed)


def ask(server, method, path, body=None, headers=None):
    """Returns status and headers of a plain request."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status, answer.headers


def form(size):
    """Returns body and headers of an upload of one file."""
    mark = uuid.uuid4().hex
    head = f'--{mark}\r\nContent-Disposition: form-data; name="files"; filename="a.wav"\r\n\r\n'
    body = head.encode() + bytes(size) + f"\r\n--{mark}--\r\n".encode()
    return body, {"Content-Type": f"multipart/form-data; boundary={mark}"}


def test_requests_beyond_the_bounds_are_refused(server):
    """By the server itself, whatever the page would have sent."""
    upload = "/gradio_api/upload"
    assert ask(server, "POST", upload, *form(1000))[0] == 200
    assert ask(server, "POST", upload, *form(LIMITS.bytes + 1000))[0] == 413
    assert ask(server, "POST", upload, *form(6 * LIMITS.bytes))[0] == 413
    assert ask(server, "POST", "/gradio_api/queue/join", b" " * 1_100_000)[0] == 413
    chunked = {"Transfer-Encoding": "chunked", "Content-Type": form(0)[1]["Content-Type"]}
    assert ask(server, "POST", upload, iter([b"0\r\n\r\n"]), chunked)[0] == 411


def test_uploads_that_are_kept_are_bounded_together(server):
    (folder,) = server.folder.glob("speechbrain-fv-*/uploads")
    with open(folder / "many", "wb") as file:
        file.truncate(8 * (LIMITS.files + 1) * (LIMITS.bytes + 10_000) - 10_000)
    upload = "/gradio_api/upload"
    assert ask(server, "POST", upload, *form(10_000))[0] == 507
    (folder / "many").unlink()
    assert ask(server, "POST", upload, *form(10_000))[0] == 200


def test_the_server_fetches_nothing_for_anyone(server):
    for path in (
        "/gradio_api/file=http://example.org/a.jpg",
        "/gradio_api/proxy=http://a.hf.space",
    ):
        assert ask(server, "GET", path)[0] == 403
    message = {"data": [{"path": "http://example.org/a.wav", "meta": {"_type": "gradio.FileData"}}]}
    message |= {"fn_index": 0, "session_hash": "abc"}
    headers = {"Content-Type": "application/json"}
    assert ask(server, "POST", "/gradio_api/queue/join", json.dumps(message), headers)[0] == 403


def test_another_site_in_the_same_browser_can_post_nothing(server):
    upload, (body, headers) = "/gradio_api/upload", form(1000)
    for origin in ("http://example.org", "null", f"http://127.0.0.1:{server.port + 1}"):
        assert ask(server, "POST", upload, body, headers | {"Origin": origin})[0] == 403
    own = {"Origin": f"http://127.0.0.1:{server.port}"}
    assert ask(server, "POST", upload, body, headers | own)[0] == 200


def test_only_this_computer_is_served_and_the_browser_is_kept_in(server):
    assert ask(server, "GET", "/", headers={"Host": "example.org"})[0] == 400
    status, headers = ask(server, "GET", "/")
    assert status == 200
    assert "default-src 'self'" in headers["content-security-policy"]
    assert headers["referrer-policy"] == "no-referrer"
    assert ask(server, "GET", "/gradio_api/file=/etc/passwd")[0] == 403
    for path in ("/docs", "/openapi.json", "/monitoring", "/gradio_api/runs"):
        assert ask(server, "GET", path)[0] in (403, 404)


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def visitor(browser, server):
    with Visitor(browser, server.address) as visitor:
        yield visitor
        outside = [
            url
            for url in visitor.requests
            if not url.startswith((server.address, "data:", f"blob:{server.address}"))
        ]
        assert not outside and not visitor.errors


@in_browser
def test_faces_for_a_voice(visitor, model, clips):
    visitor.upload("face-probe", clips / "voice1.wav")
    visitor.upload("face-candidates", *files(clips, *FACES))
    assert "A rank is no identification" in visitor.rank("face")
    same(visitor.ranking("face"), expected(model, clips, "voice1.wav", FACES))
    pictures = visitor.page.locator("#face-result img")
    assert pictures.count() == 5
    assert min(pictures.evaluate_all("images => images.map(image => image.naturalWidth)")) > 100


@in_browser
def test_voices_for_a_face(visitor, model, clips):
    visitor.open_tab("Which voice is it?")
    visitor.upload("voice-probe", clips / "face2.jpg")
    visitor.upload("voice-candidates", *files(clips, *VOICES))
    assert "8000 Hz resampled to 16000 Hz" in visitor.rank("voice")
    same(visitor.ranking("voice"), expected(model, clips, "face2.jpg", VOICES))


@in_browser
def test_bad_files_on_the_page(visitor, model, clips):
    assert visitor.rank("face").startswith("Record or upload a voice, and add at least one face")
    visitor.upload("face-probe", clips / "cut.wav")
    visitor.upload("face-candidates", *files(clips, "text.jpg", "face3.jpg"))
    assert visitor.rank("face").startswith("The voice cut.wav cannot be used: ")
    visitor.page.locator("#face-probe").get_by_label("Clear").click()
    visitor.upload("face-probe", clips / "long.wav")
    assert "long.wav cannot be used: " in visitor.rank("face")
    visitor.page.locator("#face-probe").get_by_label("Clear").click()
    visitor.upload("face-probe", clips / "voice3.wav")
    assert "text.jpg: no image that can be read" in visitor.rank("face")
    same(visitor.ranking("face"), expected(model, clips, "voice3.wav", ["face3.jpg"]))


@in_browser
def test_a_file_too_large_is_refused_and_the_page_works_on(visitor, model, clips):
    field = visitor.page.locator("#face-candidates input[type=file]")
    field.set_input_files([str(clips / "face0.jpg"), str(clips / "large.png")])
    visitor.page.get_by_text(re.compile("exceed the maximum allowed size.*large.png")).wait_for()
    visitor.upload("face-probe", clips / "voice0.wav")
    visitor.upload("face-candidates", *files(clips, *FACES[:2]))
    visitor.rank("face")
    same(visitor.ranking("face"), expected(model, clips, "voice0.wav", FACES[:2]))


@in_browser
@pytest.mark.parametrize("kind", ["face", "voice"])
def test_an_invented_person_is_clicked_on(visitor, model, tmp_path, kind):
    """Files at hand are not needed; voices in the ranking are played."""
    people = {person.name: person.files for person in write_invented(tmp_path / "people")}
    if kind == "voice":
        visitor.open_tab("Which voice is it?")
    visitor.page.locator(f"#{kind}-Noa button").click()
    visitor.page.wait_for_selector(f"#{kind}-result .fv-result")
    other = "voice" if kind == "face" else "face"
    probe, names = people["Noa"][other], [Path(files[kind]).name for files in people.values()]
    same(visitor.ranking(kind), expected(model, tmp_path / "people", Path(probe).name, names))
    sounds = visitor.page.locator(f"#{kind}-result audio")
    assert sounds.count() == (3 if kind == "voice" else 0)
    if kind == "voice":
        seconds = sounds.first.evaluate(
            "sound => new Promise((tell, fail) => {sound.onloadedmetadata = () => "
            "tell(sound.duration); sound.onerror = fail; sound.load(); sound.preload = 'auto'})"
        )
        assert seconds == pytest.approx(model.config["clip_seconds"], abs=0.01)


@in_browser
def test_faces_are_seen_at_once_and_wrong_files_are_told(visitor, clips):
    visitor.upload("face-candidates", *files(clips, "face0.jpg", "voice0.wav", "text.jpg"))
    visitor.page.wait_for_selector(".fv-looks:visible ul.fv-clips img")
    assert visitor.page.locator("ul.fv-clips:visible").inner_text().split() == ["face0.jpg"]
    told = visitor.page.locator(".fv-left-out:visible").inner_text()
    assert "voice0.wav: a recording, expected an image of a face" in told
    assert "text.jpg: no image that can be read" in told
    visitor.page.locator("#face-probe input[type=file]").set_input_files(clips / "face0.jpg")
    visitor.page.get_by_text("That is no recording. Here goes a voice").wait_for()
    assert not visitor.page.get_by_text("audio/aac").count()


@in_browser
def test_two_visitors_at_once_see_their_own(browser, server, model, clips):
    with Visitor(browser, server.address) as ann, Visitor(browser, server.address) as bob:
        for visitor, voice, faces in (
            (ann, "voice0.wav", FACES[:2]),
            (bob, "voice2.wav", FACES[2:]),
        ):
            visitor.upload("face-probe", clips / voice)
            visitor.upload("face-candidates", *files(clips, *faces))
        for visitor in (ann, bob):
            visitor.page.locator("#face-rank").click(no_wait_after=True)
        for visitor, voice, faces in (
            (ann, "voice0.wav", FACES[:2]),
            (bob, "voice2.wav", FACES[2:]),
        ):
            visitor.page.wait_for_selector("#face-result .fv-result")
            same(visitor.ranking("face"), expected(model, clips, voice, faces))


@in_browser
def test_a_voice_is_recorded(visitor, clips):
    """The browser's test device beeps once a second; what arrives is a recording of it."""
    field = visitor.page.locator("#face-probe")
    field.get_by_role("button", name="Record audio").click()
    field.locator(".record-button").click()
    visitor.page.wait_for_timeout(2500)
    with visitor.uploading():
        field.locator(".stop-button:visible").first.click()
    visitor.upload("face-candidates", clips / "face0.jpg")
    assert re.match(r"Voice: audio\.wav\s+\d+ Hz resampled to 16000 Hz", visitor.rank("face"))
    assert [row[0] for row in visitor.ranking("face")] == ["face0.jpg"]


@in_browser
def test_uploads_that_were_deleted_are_asked_for_again(visitor, server, clips):
    visitor.upload("face-probe", clips / "voice0.wav")
    visitor.upload("face-candidates", clips / "face0.jpg")
    for path in server.folder.glob("speechbrain-fv-*/uploads/**/*.*"):
        if path.is_file():
            path.unlink()
    assert "upload" in visitor.rank("face")


@in_browser
def test_a_narrow_screen_needs_no_sideways_scrolling(browser, server, clips):
    with Visitor(browser, server.address, viewport={"width": 390, "height": 844}) as visitor:
        visitor.upload("face-probe", clips / "voice0.wav")
        visitor.upload("face-candidates", *files(clips, *FACES))
        visitor.rank("face")
        assert visitor.page.evaluate("document.documentElement.scrollWidth") == 390
        visitor.page.wait_for_function("scrollY > 100")
        picture = visitor.page.locator("#face-result .fv-probe img").bounding_box()
        last = visitor.page.locator("#face-result ol.fv-ranks > li").last.bounding_box()
        assert picture["y"] >= 0 and last["y"] + last["height"] <= 844
        assert picture["width"] > 280 and picture["height"] > 100


@in_browser
def test_error_rates_and_limits_are_told(visitor, model):
    text = visitor.page.locator(".fv-about").inner_text().replace("\xa0", " ")
    for sentence in error_statements(model.config):
        assert sentence in text
    assert "A rank is no identification" in text and "invented" in text
    caution = visitor.page.locator(".fv-caution")
    assert caution.inner_text() == CAUTIONS["embedded"]
    tabs = visitor.page.locator("button[role=tab]").first
    assert caution.bounding_box()["y"] < tabs.bounding_box()["y"]
    assert "At most 1 MB a file, 4 candidates, 5 s of sound" in text

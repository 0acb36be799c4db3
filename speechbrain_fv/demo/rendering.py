"""Results and statements as HTML; texts of visitors and models are escaped."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from speechbrain_fv.demo.pictures import face_picture
from speechbrain_fv.demo.statement import INTENDED_USE, error_statements, training_statement
from speechbrain_fv.media.images import read_image

TEMPLATES = Path(__file__).with_name("templates")
CSS, JS = TEMPLATES / "page.css", TEMPLATES / "page.js"
_ENVIRONMENT = Environment(
    loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined
)


def result_html(result, kind):
    """Returns a `Result` as HTML; kind is what the candidates are, "face" or "voice"."""
    return _render("result.html", result=result, kind=kind)


def clips_html(kind, clips, left_out):
    """Returns clips of a kind and why others are left out as HTML; "" for neither."""
    return _render("clips.html", kind=kind, clips=clips, left_out=left_out)


def person_html(person):
    """Returns an `InventedPerson` as HTML, to be clicked on."""
    picture = face_picture(read_image(person.files["face"]))
    return _render("person.html", name=person.name, picture=picture)


def problem_html(error):
    """Returns an error as HTML, its first letter capital."""
    text = str(error)
    return _render("problem.html", text=text[:1].upper() + text[1:])


def caution_html(config):
    """Returns what a model says of itself before anything else as HTML; "" where nothing."""
    return _render("caution.html", text=config.get("caution"))


def about_html(config, version, limits):
    """Returns error rates, intended use, data and handling of files as HTML."""
    return _render(
        "about.html",
        errors=error_statements(config),
        use=INTENDED_USE,
        training=training_statement(config),
        name=config["name"],
        version=version,
        limits=limits,
    )


def _render(template, **values):
    return _ENVIRONMENT.get_template(template).render(**values)

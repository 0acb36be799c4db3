"""The Gradio page: two tabs that rank, and a statement of its error rates."""

import gradio

from speechbrain_fv.demo.rendering import (
    about_html,
    caution_html,
    clips_html,
    person_html,
    problem_html,
    result_html,
)

MAX_WAITING = 16
HEAD = (
    '<div class="fv-head"><h1>Faces and voices</h1><p>Which face is speaking? Which voice is it? '
    "A model compares them; it errs often, as told below.</p></div>"
)
EMPTY = '<p class="fv-empty">The ranking appears here.</p>'
DETECT = "Find the face in the photo"
INVENTED = {
    "face": "No files at hand? Hear one of three invented people, and see the faces ranked:",
    "voice": "No files at hand? Take the face of one of three invented people:",
}
TO_RESULT = "() => innerWidth < 700 && document.querySelector('#{kind}-result').scrollIntoView()"
"""On a phone the result lies below the fields."""


def build_page(comparer, people=()):
    """Returns the page as gradio.Blocks, its queue bounded.

    Arguments
    ---------
    comparer : Comparer
    people : list of InventedPerson
        To click on.
    """
    with gradio.Blocks(title="Faces and voices", analytics_enabled=False) as page:
        gradio.HTML(HEAD + caution_html(comparer.model.config))
        with gradio.Tab("Who is speaking?"):
            _tab(comparer, people, "face", "Rank the faces")
        with gradio.Tab("Which voice is it?"):
            _tab(comparer, people, "voice", "Rank the voices")
        gradio.HTML(about_html(comparer.model.config, comparer.model.version, comparer.limits))
    page.queue(max_size=MAX_WAITING, default_concurrency_limit=1, api_open=False)
    return page


def _tab(comparer, people, kind, label):
    """Adds a tab whose candidates are of a kind, "face" or "voice"."""
    with gradio.Row():
        with gradio.Column(min_width=300):
            portraits = _portraits(people, kind)
            probe = _probe(comparer, kind)
            many = gradio.File(
                label=f"Several {kind}s",
                file_count="multiple",
                elem_id=f"{kind}-candidates",
                height=160,
            )
            _show_at_once(comparer, kind, many)
            detect = gradio.Checkbox(
                label=DETECT,
                value=comparer.model.config.get("face_crop") is not None,  # as in training
                interactive=comparer.detector is not None,
                info=None if comparer.detector else "needs the extra speechbrain-fv[detect]",
                elem_id=f"{kind}-detect",
            )
            button = gradio.Button(label, variant="primary", elem_id=f"{kind}-rank")
        with gradio.Column(scale=2, min_width=300):
            shown = gradio.HTML(EMPTY, elem_id=f"{kind}-result")

    def rank_after(event):
        event(
            _ranker(comparer, kind),
            [probe, many, detect],
            shown,
            concurrency_limit=1,
            concurrency_id="model",
            api_visibility="private",
        ).then(None, js=TO_RESULT.format(kind=kind))

    rank_after(button.click)
    other = "voice" if kind == "face" else "face"
    candidates = [person.files[kind] for person in people]
    for person, portrait in zip(people, portraits, strict=True):
        chosen = (person.files[other], candidates)
        filled = portrait.click(
            lambda chosen=chosen: chosen, None, [probe, many], api_visibility="private"
        )
        rank_after(filled.then)


def _portraits(people, kind):
    """Adds the invented people, and returns what is clicked on."""
    if not people:
        return []
    gradio.HTML(f'<p class="fv-hint">{INVENTED[kind]}</p>')
    with gradio.Row(elem_classes="fv-people"):
        return [
            gradio.HTML(person_html(person), elem_id=f"{kind}-{person.name}", min_width=80)
            for person in people
        ]


def _probe(comparer, kind):
    """Adds the field for what is compared with candidates of a kind."""
    if kind == "face":
        return gradio.Audio(
            label="A voice",
            sources=["upload", "microphone"],
            type="filepath",
            editable=False,
            buttons=[],
            elem_id="face-probe",
        )
    probe = gradio.File(label="A face", elem_id="voice-probe", height=100)
    _show_at_once(comparer, "face", probe)
    return probe


def _show_at_once(comparer, kind, field):
    """Adds how the files of a field look, or why they cannot be used, below it."""
    looks = gradio.HTML(elem_classes="fv-looks")

    def show(files):
        paths = files if isinstance(files, list) else [files] if files else []
        return clips_html(kind, *comparer.shown(kind, paths))

    field.change(show, field, looks, api_visibility="private", show_progress="hidden")


def _ranker(comparer, kind):
    rank = comparer.rank_faces if kind == "face" else comparer.rank_voices
    missing = {
        "face": "record or upload a voice, and add at least one face",
        "voice": "add a face, and at least one voice",
    }[kind]

    def ranked(probe, candidates, detect_faces):
        if not probe or not candidates:
            return problem_html(missing)
        try:
            result = rank(probe, candidates, detect_faces)
        except ValueError as error:
            return problem_html(error)
        return result_html(result, kind)

    return ranked

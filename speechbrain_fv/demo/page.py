"""The Gradio page: two tabs that rank, and a statement of its error rates."""

import gradio

from speechbrain_fv.demo.rendering import about_html, caution_html, problem_html, result_html

MAX_WAITING = 16
HEAD = (
    '<div class="fv-head"><h1>Faces and voices</h1><p>Which face is speaking? Which voice is it? '
    "A model compares them; it errs often, as told below.</p></div>"
)
EMPTY = '<p class="fv-empty">The ranking appears here.</p>'
DETECT = "Find the face in the photo"


def build_page(comparer):
    """Returns the page as gradio.Blocks, its queue bounded.

    Arguments
    ---------
    comparer : Comparer
    """
    with gradio.Blocks(title="Faces and voices", analytics_enabled=False) as page:
        gradio.HTML(HEAD + caution_html(comparer.model.config))
        with gradio.Tab("Who is speaking?"):
            _tab(comparer, "face", "Rank the faces")
        with gradio.Tab("Which voice is it?"):
            _tab(comparer, "voice", "Rank the voices")
        gradio.HTML(about_html(comparer.model.config, comparer.model.version, comparer.limits))
    page.queue(max_size=MAX_WAITING, default_concurrency_limit=1, api_open=False)
    return page


def _tab(comparer, kind, label):
    """Adds a tab whose candidates are of a kind, "face" or "voice"."""
    with gradio.Row():
        with gradio.Column(min_width=300):
            if kind == "face":
                probe = gradio.Audio(
                    label="A voice",
                    sources=["upload", "microphone"],
                    type="filepath",
                    editable=False,
                    buttons=[],
                    elem_id="face-probe",
                )
            else:
                probe = gradio.File(label="A face", elem_id="voice-probe", height=160)
            many = gradio.File(
                label=f"Several {kind}s",
                file_count="multiple",
                elem_id=f"{kind}-candidates",
                height=200,
            )
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
    button.click(
        _ranker(comparer, kind),
        [probe, many, detect],
        shown,
        concurrency_limit=1,
        concurrency_id="model",
        api_visibility="private",
    )


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
        return result_html(result, kind, comparer.model.threshold)

    return ranked

"""The model that a command line names."""

from speechbrain_fv.inference import FaceVoiceAssociation


def load_model(options):
    """Returns the `FaceVoiceAssociation` of the options --model, --revision and so on."""
    return FaceVoiceAssociation.from_hparams(
        options.model,
        revision=options.revision,
        trust_remote_code=options.trust_remote_code,
        run_opts={"device": options.device},
    )


def described(model):
    """Returns name and version of a model, for --json."""
    return {"name": model.config["name"], "version": model.version}


def cautioned(model, outcome):
    """Returns an outcome that begins with what the model says of itself, as text and as data.

    Arguments
    ---------
    model : FaceVoiceAssociation
        Its ``config["caution"]`` is there if its training met no real people.
    outcome : Outcome
    """
    caution = model.config.get("caution")
    if caution is None:
        return outcome
    data = {"caution": caution, **outcome.data}
    return outcome._replace(data=data, lines=[caution, *outcome.lines])

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

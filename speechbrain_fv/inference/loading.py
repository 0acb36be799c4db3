"""A published model as a torch module: how it is loaded, moved and frozen."""

import dataclasses
import logging
import sys
from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from speechbrain.inference.interfaces import Pretrained
from speechbrain.utils.fetching import FetchConfig, FetchSource, LocalStrategy
from speechbrain.utils.run_opts import RunOptions

from speechbrain_fv.bundles.bundle import MODULES, load_bundle, of_hparams
from speechbrain_fv.bundles.layout import CODE_FILE, HPARAMS_FILE
from speechbrain_fv.bundles.savedir import collect
from speechbrain_fv.evaluation.exact import check_device
from speechbrain_fv.files import PathLike
from speechbrain_fv.inference import inputs
from speechbrain_fv.inference.describing import description
from speechbrain_fv.scores import Score
from speechbrain_fv.settings.keys import did_you_mean
from speechbrain_fv.settings.run_options import DEFAULTS, GIVEN, check_modules, settle

logger = logging.getLogger(__name__)

Options = RunOptions | dict[str, Any] | None
Model = TypeVar("Model", bound="PublishedModel")


class PublishedModel(Pretrained):
    """A model of a bundle, loaded by `from_hparams` or by SpeechBrain's own loaders.

    Arguments
    ---------
    modules : dict of str to torch.nn.Module
        The encoders and the block that they share, with their weights.
    hparams : dict
        The objects of a bundle's YAML, whose pretrainer has loaded its files; see `of_hparams`.
    run_opts : dict, optional
        SpeechBrain's run options, such as ``{"device": "cuda"}``. Those of a training play no part;
        what cannot work here is refused.
    freeze_params : bool
        Whether the weights need no gradient.

    Raises
    ------
    ValueError
        If the parts are not those of a bundle, or the device cannot be used.
    """

    MODULES_NEEDED = MODULES

    def __init__(
        self,
        modules: Mapping[str, torch.nn.Module] | None = None,
        hparams: Mapping[str, Any] | None = None,
        run_opts: Options = None,
        freeze_params: bool = True,
    ) -> None:
        bundle = of_hparams(modules, hparams)
        inputs.check_default_dtype()
        options = _run_options(run_opts)
        if options is not None:
            check_modules(options, bundle.modules)
        super().__init__(bundle.modules, hparams, options, freeze_params)
        self.mods.eval()  # also what is to be trained; `train` changes that
        self.is_frozen = freeze_params
        self.readers = bundle.readers
        self.config = bundle.config
        self.version = bundle.version
        self.calibration = bundle.calibration
        self.threshold = bundle.calibration and bundle.calibration.threshold
        self._score = (bundle.score,)  # in a tuple, so that no device or type moves it
        self.embedding_dim = bundle.config["embedding_dim"]

    def __repr__(self) -> str:
        """Returns five lines: what the model is, takes, returns, decides and was trained on."""
        return description(self)

    @property
    def score(self) -> Score:
        """How a face and a voice are compared."""
        return self._score[0]

    @classmethod
    def from_hparams(
        cls: type[Model],
        source: PathLike | FetchSource,
        hparams_file: str = HPARAMS_FILE,
        overrides: dict[str, Any] | str | None = None,
        overrides_must_match: bool = True,
        savedir: PathLike | None = None,
        download_only: bool = False,
        local_strategy: LocalStrategy = LocalStrategy.SYMLINK,
        fetch_config: FetchConfig = FetchConfig(),  # noqa: B008, as SpeechBrain's; it is frozen
        run_opts: Options = None,
        freeze_params: bool = True,
        *,
        pymodule_file: str | None = None,
        use_auth_token: str | bool | None = None,
        huggingface_cache_dir: PathLike | None = None,
        revision: str | None = None,
        token: str | None = None,
        trust_remote_code: bool = False,
    ) -> Model:
        """Returns a model from a folder or from the Hugging Face hub.

        Takes what SpeechBrain's ``from_hparams`` takes, in its order, and by name what it took in
        1.0. Unlike there the YAML is checked before anything of it is made, all files are of one
        version, and the newest one on the hub is looked for.

        Arguments
        ---------
        source : str or Path or FetchSource
            A bundle's folder, or its name on the hub, "owner/name".
        hparams_file : str
            The YAML in the bundle.
        overrides : dict or str, optional
            Entries of the YAML to replace; they make another `version`.
        overrides_must_match : bool
            Whether an override of an entry that the YAML does not have is an error.
        savedir : str or Path, optional
            Is filled with links to the files, or with copies; later the files there are used. By
            default files stay in their folder or in the hub's cache.
        download_only : bool
            Whether to fetch the files, and return None.
        local_strategy : LocalStrategy
            What `savedir` is filled with.
        fetch_config : FetchConfig
            Whether to replace other files in `savedir` and whether to use the network; with a
            revision, a token and a folder of the cache, which can also be given by themselves.
        run_opts : dict, optional
            SpeechBrain's run options, such as ``{"device": "cuda"}``.
        freeze_params : bool
            Whether the weights need no gradient.
        pymodule_file : str, optional
            Python of the bundle that its YAML names; needs `trust_remote_code`.
        use_auth_token, token : str, optional
            For private repositories; by default the one that the hub's client has stored.
        huggingface_cache_dir : str or Path, optional
            Takes the place of the hub's cache.
        revision : str, optional
            Commit, tag or branch on the hub; pin a commit to always get the same model.
        trust_remote_code : bool
            Whether the model's YAML may run anything it names. Without it only the parts of
            speechbrain, torch and timm that a model needs are made.

        Raises
        ------
        ValueError
            If the model is incomplete, not to be had, or names what it may not, or the device
            cannot be used.
        OSError
            If the hub cannot be reached.
        """
        _run_options(run_opts)
        inputs.check_default_dtype()
        if pymodule_file not in (None, CODE_FILE) and not trust_remote_code:
            raise ValueError(
                f"pymodule_file: {pymodule_file} would be run; if you know who wrote it and have "
                "read it, pass trust_remote_code=True"
            )
        code = [pymodule_file] if pymodule_file and trust_remote_code else []
        folder = collect(
            *(source, savedir, local_strategy),
            dataclasses.replace(
                fetch_config,
                huggingface_cache_dir=huggingface_cache_dir or fetch_config.huggingface_cache_dir,
            ),
            revision=revision or fetch_config.revision,
            token=next(filter(_is_text, (token, use_auth_token, fetch_config.token)), None),
            more=[hparams_file, *code],
        )
        if download_only:
            return None
        if code:
            sys.path.append(str(folder))
        with torch.device("cpu"):  # whatever the caller's default is; the options move it then
            bundle = load_bundle(
                *(folder, trust_remote_code, hparams_file),
                overrides,
                overrides_must_match,
            )
        return cls(bundle.modules, bundle.hparams, run_opts, freeze_params)

    def train(self: Model, mode: bool = True) -> Model:
        """Sets the mode of training or evaluation; frozen weights stay in evaluation mode."""
        return super().train(mode and not self.is_frozen)

    def _apply(self, fn, recurse=True):
        """Moves the weights, as `to` and `cuda` ask for, and `device` with them; not their type."""
        asked = fn(torch.empty(0, device=self.device)).dtype
        if asked != torch.float32:
            logger.warning(
                "the weights stay in float32, %s was asked for: the model's embeddings are float32",
                asked,
            )

        def moved(tensor):
            result = fn(tensor)
            return result if result.dtype == tensor.dtype else tensor.to(result.device)

        super()._apply(moved, recurse)
        self.device = str(next(self.parameters()).device)
        return self


def _run_options(run_opts):
    """Returns SpeechBrain's run options, checked, with the device as text; None for none."""
    if not run_opts:
        return None
    if isinstance(run_opts, dict):
        for name in run_opts:
            if name not in DEFAULTS:
                hint = did_you_mean(name, DEFAULTS)
                raise ValueError(f"run_opts: SpeechBrain has no option {name!r}{hint}")
        run_opts = RunOptions.from_dictionary(run_opts)
    device = run_opts["device"]
    if device is not None:
        check_device(device)
        run_opts = dataclasses.replace(run_opts, device=str(device))
    others = {name: run_opts[name] for name in run_opts.overridden_args - GIVEN if name in DEFAULTS}
    try:
        options = settle(run_opts, others)
    except ValueError as error:
        raise ValueError(f"run_opts: {error}") from error
    return options


def _is_text(token):
    return isinstance(token, str)  # True asks for the stored one, which is the default

"""What SpeechBrain's own loaders find in a bundle's YAML: its files, collected and loaded."""

from speechbrain.utils.fetching import FetchConfig, LocalStrategy, fetch
from speechbrain.utils.parameter_transfer import Pretrainer

from speechbrain_fv.bundles.bundle import model_version
from speechbrain_fv.bundles.config import read_config
from speechbrain_fv.bundles.layout import CONFIG_FILE, HPARAMS_FILE, WEIGHTS_FILE
from speechbrain_fv.bundles.weights import load_weights

COLLECTED = (HPARAMS_FILE, WEIGHTS_FILE, CONFIG_FILE)


class BundlePretrainer(Pretrainer):
    """Collects the files of a bundle, and puts the weights into the modules.

    SpeechBrain's ``Pretrainer`` reads one pickle per module. A bundle has one safetensors file, of
    which all must fit, and a configuration without which scores mean nothing.

    Arguments
    ---------
    loadables : dict of str to torch.nn.Module
        The modules, and the score if the YAML names one.

    Attributes
    ----------
    config : dict or None
        The content of config.json, once `load_collected` has run.
    version : str or None
        Names weights and settings, as `model_version` does.
    """

    def __init__(self, loadables):
        super().__init__(loadables=loadables)
        self.config, self.version = None, None

    def collect_files(
        self,
        default_source=None,
        local_strategy=LocalStrategy.SYMLINK,
        fetch_config=FetchConfig(),  # noqa: B008, as SpeechBrain's; it is frozen
    ):
        """Fetches the files of a bundle, into the folder of `set_collect_in` if that was called.

        Arguments
        ---------
        default_source : str or Path or FetchSource
            A bundle's folder, or its name on the hub.
        local_strategy, fetch_config
            See ``speechbrain.utils.fetching.fetch``.

        Returns
        -------
        paths : dict of str to Path
            By the name of the file.

        Raises
        ------
        ValueError
            If there is no source, or somebody published another version meanwhile.
        """
        if default_source is None:
            raise ValueError("default_source: expected a bundle's folder or owner/name, got None")
        self.paths = {
            name: fetch(name, default_source, self.collect_in, None, local_strategy, fetch_config)
            for name in COLLECTED
        }
        if len({path.parent for path in self.paths.values()}) > 1:  # the hub's cache, by commits
            raise ValueError(f"{default_source}: its files changed meanwhile; load the model again")
        return self.paths

    def load_collected(self):
        """Loads weights and configuration of the files that have been collected.

        Raises
        ------
        ValueError
            If no file was collected, or weights or configuration are not those of the model.
        """
        if not self.paths and self.collect_in is None:
            raise ValueError("pretrainer: no files; call collect_files with a bundle's folder")
        folder = self.paths[CONFIG_FILE].parent if self.paths else self.collect_in
        self.config = read_config(folder / CONFIG_FILE)
        load_weights(self.loadables, folder / WEIGHTS_FILE)
        self.version = model_version(folder)

"""Networks of ONNX files, as frozen encoders of either modality (extra `onnx`)."""

import contextlib
import tempfile
import threading
from pathlib import Path

import numpy as np
import torch

from speechbrain_fv.shipped import install_command

LAYOUTS = {
    "NCHW": "images, clips x channels x height x width",
    "NHWC": "images, clips x height x width x channels",
    "NTF": "features, clips x frames x coefficients",
    "NFT": "features, clips x coefficients x frames",
    "NS": "waveforms, clips x samples",
}
BLOCK = 65536
KINDS = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}
_WEIGHTS_BESIDE = "session.model_external_initializers_file_folder_path"


class OnnxNetwork(torch.nn.Module):
    """The network of an ONNX file; it has no gradient and must be frozen.

    The file's bytes are a buffer: they are in checkpoints and in a published model.

    Arguments
    ---------
    checkpoint : str, optional
        The ONNX file, with its weights inside. A published model has the bytes instead.
    layout : str
        Of the file's input: "NCHW" or "NHWC" for images, "NTF" or "NFT" for features of speech,
        "NS" for waveforms.
    channels : str
        "RGB" or "BGR", of images.
    images : dict, optional
        How images are read: arguments of an `ImageReader`; by default as the corpus says. The mean
        and std are of pixels in [0, 1]: a network of pixels from 0 to 255 has the mean 0 and the
        std 1 / 255 = 0.00392157.
    output : str, optional
        Name of the output that is taken; needed where the file has several.
    num_features : int, optional
        Width of the output; by default it is found with one image.
    size : sequence of two int, optional
        Of the file, in blocks of 65,536 bytes and bytes behind these; needed without `checkpoint`.

    Raises
    ------
    ValueError
        If the file is missing, no ONNX, or has other inputs or outputs than expected.
    ImportError
        If onnxruntime is not installed.
    """

    def __init__(
        self,
        checkpoint=None,
        layout="NCHW",
        channels="RGB",
        images=None,
        output=None,
        num_features=None,
        size=None,
    ):
        super().__init__()
        if layout not in LAYOUTS:
            raise ValueError(f"layout: expected one of {', '.join(LAYOUTS)}, got {layout!r}")
        if channels not in ("RGB", "BGR"):
            raise ValueError(f"channels: expected RGB or BGR, got {channels!r}")
        self.layout, self.channels, self.output = layout, channels, output
        self.image_settings = dict(images) if images else None
        self.bounds = None
        if checkpoint is None:
            if size is None:
                raise ValueError("checkpoint: expected an ONNX file, got null")
            self.register_buffer("file", torch.zeros(size[0] * BLOCK + size[1], dtype=torch.uint8))
        else:
            self.register_buffer("file", _content(checkpoint))
        self.num_features = num_features
        if checkpoint is not None:
            self._check(checkpoint)

    @property
    def size(self):
        """The size of the file as the argument of this name has it."""
        return list(divmod(len(self.file), BLOCK))

    def __getstate__(self):
        return {name: value for name, value in self.__dict__.items() if name != "_session"}

    def _load_from_state_dict(self, *args, **kwargs):
        self.__dict__.pop("_session", None)
        super()._load_from_state_dict(*args, **kwargs)

    @property
    def session(self):
        """onnxruntime's session of the file, made when it is first needed."""
        if "_session" not in self.__dict__:
            runtime = _runtime()
            options = runtime.SessionOptions()
            options.intra_op_num_threads = torch.get_num_threads()
            options.log_severity_level = 4  # errors are raised as well
            # To fold constants would be work that nothing bounds.
            options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
            try:
                # Weights beside the file are of nobody knows which file: there are none.
                with tempfile.TemporaryDirectory() as empty:
                    options.add_session_config_entry(_WEIGHTS_BESIDE, empty)
                    self.__dict__["_session"] = runtime.InferenceSession(
                        self.file.cpu().numpy().tobytes(),
                        options,
                        providers=["CPUExecutionProvider"],
                    )
            except Exception as error:  # of onnxruntime, of many kinds
                raise ValueError(
                    f"no ONNX network can be made of the file ({_line(error)}); expected one file "
                    "with its weights inside"
                ) from error
        return self.__dict__["_session"]

    @torch.no_grad()
    def forward(self, x, wav_lens=None):
        """Returns features, float32 of shape (B, D), or (B, T', D) where the file gives frames.

        Arguments
        ---------
        x : torch.Tensor
            Images (B, 3, H, W) in RGB, features (B, T, F), or waveforms (B, samples).
        wav_lens : torch.Tensor, optional
            Not used: all clips of a batch have one length.

        Raises
        ------
        ValueError
            If the file's network refuses the shape, or its output is not `num_features` wide.
        """
        given = self.session.get_inputs()[0]
        if self.channels == "BGR":
            x = x.flip(1)
        if self.layout == "NHWC":
            x = x.permute(0, 2, 3, 1)
        elif self.layout == "NFT":
            x = x.transpose(1, 2)
        array = np.ascontiguousarray(x.float().cpu().numpy().astype(KINDS[given.type]))
        one_by_one = given.shape[0] == 1
        rows = [array[row : row + 1] for row in range(len(array))] if one_by_one else [array]
        names = [self.output or self.session.get_outputs()[0].name]
        try:
            results = [self.session.run(names, {given.name: row}, self.bounds)[0] for row in rows]
        except Exception as error:  # of onnxruntime, of many kinds
            raise ValueError(
                f"the ONNX network refuses {LAYOUTS[self.layout]} of the shape {array.shape} "
                f"({_line(error)})"
            ) from error
        result = torch.from_numpy(np.concatenate(results).astype(np.float32)).to(x.device)
        while result.ndim > 2 and result.shape[-1] == 1:
            result = result.squeeze(-1)
        if result.ndim not in (2, 3):
            raise ValueError(
                "the ONNX network: expected an output of vectors (B, D) or frames (B, T, D), got "
                f"the shape {tuple(result.shape)}; name another output"
            )
        if self.num_features not in (None, result.shape[-1]):
            raise ValueError(
                f"the ONNX network: expected vectors of width {self.num_features}, got "
                f"{result.shape[-1]}; correct num_features, of a voice network_dim"
            )
        return result

    def _check(self, path):
        """Raises ValueError if the file has other inputs and outputs than expected."""
        try:
            inputs, outputs = self.session.get_inputs(), self.session.get_outputs()
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        shapes = ", ".join(f"{each.name} {each.type} {each.shape}" for each in inputs)
        wanted = f"{path}: expected one input of {LAYOUTS[self.layout]} ({self.layout})"
        if len(inputs) != 1 or inputs[0].type not in KINDS:
            raise ValueError(f"{wanted}, of floats, got {shapes}")
        shape = inputs[0].shape
        if len(shape) != len(self.layout):
            raise ValueError(f"{wanted}, got {shapes}; set layout")
        if isinstance(shape[0], int) and shape[0] != 1:
            raise ValueError(f"{wanted}, any number of clips or one, got {shapes}")
        names = [each.name for each in outputs]
        if self.output is None and len(names) > 1:
            raise ValueError(f"{path}: output: expected one of {', '.join(names)}, got null")
        if self.output is not None and self.output not in names:
            raise ValueError(
                f"{path}: output: expected one of {', '.join(names)}, got {self.output}"
            )
        if "C" not in self.layout:
            return
        axis = self.layout.index("C")
        if shape[axis] not in (3, None) and not isinstance(shape[axis], str):
            raise ValueError(f"{wanted}, of 3 channels, got {shapes}; set layout")
        fixed = next((n for n in (shape[self.layout.index(a)] for a in "HW") if type(n) is int), 64)
        size = self.image_settings["image_size"] if self.image_settings else fixed
        try:
            features = self(torch.zeros(1, 3, size, size))
        except ValueError as error:
            raise ValueError(f"{path}: {error}; set image_size and resize") from error
        self.num_features = features.shape[-1]


@contextlib.contextmanager
def bounded(modules, max_seconds, max_bytes):
    """Within it the ONNX networks among modules take no more time and memory than this.

    Memory is bounded where the system can do so for the process, as Linux does.

    Arguments
    ---------
    modules : iterable of torch.nn.Module
    max_seconds : float
        After which a run is stopped, which raises ValueError.
    max_bytes : int
        That the process may take beside what it has.
    """
    networks = [
        part for module in modules for part in module.modules() if isinstance(part, OnnxNetwork)
    ]
    if not networks:
        yield
        return
    options = _runtime().RunOptions()
    timer = threading.Timer(max_seconds, setattr, (options, "terminate", True))
    timer.daemon = True
    timer.start()
    for network in networks:
        network.bounds = options
    try:
        with _less_memory(max_bytes):
            yield
    finally:
        timer.cancel()
        for network in networks:
            network.bounds = None


@contextlib.contextmanager
def _less_memory(max_bytes):
    try:
        import resource

        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except (ImportError, OSError):  # another system
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = taken + max_bytes
    known = [other for other in (soft, hard) if other != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min([limit, *known]), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _runtime():
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError(f"ONNX networks need onnxruntime; {install_command('onnx')}") from error
    return onnxruntime


def _content(path):
    try:
        return torch.from_numpy(np.fromfile(path, np.uint8))
    except OSError as error:
        raise ValueError(f"{path}: no ONNX file can be read there ({error.strerror})") from error


def _line(error):
    return " ".join(str(error).split())[:300] or type(error).__name__

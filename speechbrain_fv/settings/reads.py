"""What the scripts in recipes/ read of their YAML, beside what the YAML refers to itself."""

TRAIN = (
    *("seed", "output_folder", "manifest_folder", "batch_size", "num_workers", "sampler"),
    *("corpus[prepare]", "corpus[face_reader]", "corpus[voice_reader]", "num_removed_identities"),
    *("age_edges", "strata", "sets", "lists[trials]", "init_from", "allow_leakage"),
    *(
        "face_encoder",
        "voice_encoder",
        "frozen_features",
        "media_cache",
        "modules",
        "objective",
        "loss_weights",
    ),
    *(
        "embedding_dim",
        "score",
        "monitor",
        "number_of_epochs",
        "opt_class",
        "lr_schedule",
        "lr_factors",
    ),
    *("epoch_counter", "checkpointer", "train_logger", "curves", "draw_figures"),
    *("gradient_compression", "channels_last", "valid_clips", "lost_files"),
)
"""Of recipes/train.py, its Brain, and the export of what it trained."""

ENCODERS = (
    *("samples", "least_cosine", "remove_silence", "face_encoder", "voice_encoder"),
    *("corpus[face_reader]", "corpus[voice_reader]"),
)
"""Of what recipes/publish.py is told of the encoders of precomputed vectors."""

EVALUATE = (
    *("embeddings", "metadata", "lists[trials]", "train_identities", "allow_leakage", "meta_csv"),
    *("output_folder", "max_candidates", "num_replicates", "bootstrap_seed", "chunk_size"),
    *("score", "score_weights", "age_edges", "clips", "strata", "sets"),
)
"""Of recipes/evaluate.py."""

EVALUATE_OPTIONS = ("device", "noprogressbar")
"""The run options of SpeechBrain that recipes/evaluate.py makes use of."""

ABLATE = (
    *("hparams_file", "base", "seeds", "grids", "output_folder", "devices", "jobs", "dry_run"),
    "cluster",
    "ablations",
)
"""Of recipes/ablate.py."""

ABLATE_OPTIONS = ("noprogressbar",)
"""The run options that recipes/ablate.py makes use of; those of its runs stand in `base`."""

COMPARE = (
    *("methods", "tuning", "only", "reference", "base", "seeds", "num_folds", "tune"),
    *("output_folder", "devices", "jobs", "cluster", "dry_run"),
)
"""Of recipes/compare_methods.py."""

COMPARE_OPTIONS = ABLATE_OPTIONS
"""The run options that it makes use of; those of its runs stand in `base`."""

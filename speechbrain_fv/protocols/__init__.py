"""Which pairs are compared: strata, published and own trial lists, trials drawn from a seed.

A source of lists (`PublishedLists`, `ListFile`, `SampledTrials`) is what a YAML of
hparams/protocols names; its `read(embeddings, metadata)` returns `TrialList`s of clip names, and
`resolve_lists` finds those clips among the embeddings.
"""

from speechbrain_fv.protocols.challenge import ChallengeLists, FameLists, MavCelebNames
from speechbrain_fv.protocols.clip_names import ExactNames, VoxCelebNames
from speechbrain_fv.protocols.lists import KINDS, ListFile, TrialList, write_list
from speechbrain_fv.protocols.published import FAMILIES, PublishedLists
from speechbrain_fv.protocols.resolve import ResolvedList, resolve_lists
from speechbrain_fv.protocols.sampled import SampledTrials
from speechbrain_fv.protocols.strata import (
    ATTRIBUTES,
    MATCHING_STRATA,
    VERIFICATION_STRATA,
    check_metadata,
    no_trials_reason,
    stratum_attributes,
    stratum_groups,
    undefined_reason,
)

__all__ = [
    "ATTRIBUTES",
    "FAMILIES",
    "KINDS",
    "MATCHING_STRATA",
    "VERIFICATION_STRATA",
    "ChallengeLists",
    "ExactNames",
    "FameLists",
    "ListFile",
    "MavCelebNames",
    "PublishedLists",
    "ResolvedList",
    "SampledTrials",
    "TrialList",
    "VoxCelebNames",
    "check_metadata",
    "no_trials_reason",
    "resolve_lists",
    "stratum_attributes",
    "stratum_groups",
    "undefined_reason",
    "write_list",
]

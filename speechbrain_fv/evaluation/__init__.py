"""From embeddings to a report: exact values, published lists, groups, paired comparisons."""

from speechbrain_fv.evaluation.exact import (
    check_device,
    evaluate,
    format_report,
    load_metadata,
    save_report,
)

__all__ = ["check_device", "evaluate", "format_report", "load_metadata", "save_report"]

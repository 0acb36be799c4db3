"""What the embeddings of the validation people say of a training."""

from speechbrain_fv.evaluation.exact import evaluate
from speechbrain_fv.evaluation.report import higher_is_better, value_at


def validate(embeddings, metadata, score, monitor):
    """Returns the values that are logged, and the one that chooses the checkpoint.

    Arguments
    ---------
    embeddings : Embeddings
    metadata : pandas.DataFrame or None
        The labels that define the strata.
    score : Score
    monitor : str
        The path of a value in the report.

    Returns
    -------
    values : dict of str to float
        ``auc_U`` and so on, of the strata that have one, and the monitor where it is another.
    monitored : float
        With the sign that makes higher better.

    Raises
    ------
    ValueError
        If the report has no such value.
    """
    report = evaluate(
        embeddings,
        metadata,
        tasks=tuple(dict.fromkeys(("verification", monitor.split("/")[0]))),
        num_replicates=0,
        score=score,
    )
    strata = {name: value for name, value in report["verification"].items() if value}
    values = {
        f"auc_{name}": value["auc"] for name, value in strata.items() if value["auc"] is not None
    }
    try:
        monitored = value_at(report, monitor)
    except ValueError as error:
        raise ValueError(
            f"validation: {error}; name another value of the report as monitor, or, with "
            "--debug, raise batch_size"
        ) from error
    if not (monitor.startswith("verification/") and monitor.endswith("/auc")):
        values[monitor.replace("/", "_")] = monitored
    return values, monitored if higher_is_better(monitor) else -monitored

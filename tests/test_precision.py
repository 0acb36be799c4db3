"""Products in float32, and what is allowed afterwards."""

import pytest
import torch

from speechbrain_fv.precision import full_float32


def allowed():
    return (
        torch.get_float32_matmul_precision(),
        torch.backends.cuda.matmul.allow_tf32,
        torch.backends.mkldnn.matmul.fp32_precision,
    )


@pytest.mark.skipif(not hasattr(torch.backends.mkldnn, "matmul"), reason="torch before 2.9")
def test_what_was_allowed_is_allowed_afterwards():
    """SpeechBrain allows TensorFloat-32 on a GPU alone, torch's own switch on a CPU too."""
    found = allowed()
    try:
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.mkldnn.matmul.fp32_precision = "none"
        before = allowed()
        with full_float32("cpu"):
            assert allowed()[:2] == ("highest", False)
        assert allowed() == before == ("high", True, "none")
    finally:
        torch.set_float32_matmul_precision(found[0])
        torch.backends.mkldnn.matmul.fp32_precision = found[2]

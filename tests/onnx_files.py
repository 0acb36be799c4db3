"""Tiny ONNX files, made on the spot, and the same computation in torch."""

import numpy as np
import pytest
import torch


def face_file(path, size=24, layout="NCHW", batch="N", channels=3):
    """Writes a network of images; returns its torch function of (B, 3, H, W)."""
    onnx = pytest.importorskip("onnx", reason="needs onnx to make files")
    from onnx import helper

    rng = np.random.default_rng(0)
    weight = rng.normal(size=(6, channels, 3, 3)).astype(np.float32)
    shape = {"N": batch, "C": channels, "H": size, "W": size}
    nodes = [helper.make_node("Transpose", ["image"], ["t"], perm=[0, 3, 1, 2])]
    nodes = nodes if layout == "NHWC" else []
    nodes += [
        helper.make_node("Conv", ["t" if nodes else "image", "w"], ["c"], strides=[2, 2]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["features"]),
    ]
    given = helper.make_tensor_value_info("image", 1, [shape[axis] for axis in layout])
    _save(onnx, path, nodes, [given], [("features", [batch, 6, 1, 1])], {"w": weight})

    def function(images):
        return (
            torch.nn.functional.conv2d(images, torch.tensor(weight), stride=2).relu().mean((2, 3))
        )

    return function


def voice_file(path, num_coefficients=20, layout="NTF", width=5):
    """Writes a network of features of speech; returns its torch function of (B, T, F)."""
    onnx = pytest.importorskip("onnx", reason="needs onnx to make files")
    from onnx import helper

    weight = np.random.default_rng(1).normal(size=(num_coefficients, width)).astype(np.float32)
    shape = {"N": "N", "T": "T", "F": num_coefficients}
    nodes = [helper.make_node("Transpose", ["x"], ["t"], perm=[0, 2, 1])]
    nodes = nodes if layout == "NFT" else []
    nodes += [
        helper.make_node("MatMul", ["t" if nodes else "x", "w"], ["m"]),
        helper.make_node("Tanh", ["m"], ["frames"]),
    ]
    given = helper.make_tensor_value_info("x", 1, [shape[axis] for axis in layout])
    _save(onnx, path, nodes, [given], [("frames", ["N", "T", width])], {"w": weight})
    return lambda x: torch.tanh(x @ torch.tensor(weight))


def _save(onnx, path, nodes, inputs, outputs, weights):
    from onnx import helper, numpy_helper

    graph = helper.make_graph(
        nodes,
        "tiny",
        inputs,
        [helper.make_tensor_value_info(name, 1, shape) for name, shape in outputs],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def bomb_file(path):
    """Writes a network of images that asks for 4e12 bytes, or for a very long time."""
    onnx = pytest.importorskip("onnx", reason="needs onnx to make files")
    from onnx import helper

    nodes = [
        helper.make_node("Tile", ["image", "many"], ["t"]),
        helper.make_node("GlobalAveragePool", ["t"], ["features"]),
    ]
    given = helper.make_tensor_value_info("image", 1, ["N", 3, 24, 24])
    many = np.array([1, 1, 40000, 40000], np.int64)
    _save(onnx, path, nodes, [given], [("features", ["N", 3, 1, 1])], {"many": many})


def two_outputs_file(path):
    """Writes a network of images with two outputs."""
    onnx = pytest.importorskip("onnx", reason="needs onnx to make files")
    from onnx import helper

    nodes = [helper.make_node("GlobalAveragePool", ["image"], ["mean"])]
    nodes += [helper.make_node("GlobalMaxPool", ["image"], ["most"])]
    given = helper.make_tensor_value_info("image", 1, ["N", 3, 24, 24])
    outputs = [(name, ["N", 3, 1, 1]) for name in ("mean", "most")]
    _save(onnx, path, nodes, [given], outputs, {})


def integer_file(path):
    """Writes a network of images of whole numbers."""
    onnx = pytest.importorskip("onnx", reason="needs onnx to make files")
    from onnx import helper

    nodes = [helper.make_node("Cast", ["image"], ["features"], to=1)]
    given = helper.make_tensor_value_info("image", 7, ["N", 3, 24, 24])
    _save(onnx, path, nodes, [given], [("features", ["N", 3, 24, 24])], {})

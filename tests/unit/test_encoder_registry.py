from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from streamer.core.errors import ConfigError, ModelError
from streamer.core.preprocess import Fit, Preprocess
from streamer.models.encoders.device import Device, DeviceKind, parse_device
from streamer.models.encoders.reference import NamedWeights, TorchvisionReference, parse_reference
from streamer.models.encoders.registry import open_encoder

if os.environ.get("CI") != "true":
    pytest.importorskip("onnxruntime")

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "streamer/models/encoders/efficientnet_lite0/model.onnx"


def test_the_registry_loads_no_model_library():
    code = (
        "import sys, streamer.models.encoders.registry\n"
        "print(sorted({'torch', 'torchvision', 'onnxruntime', 'onnx'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert run.stdout.strip() == "[]"


def test_the_default_loads_no_torch():
    code = (
        "import sys\nfrom streamer.models.encoders.registry import open_encoder\n"
        "open_encoder('efficientnet_lite0')\nprint('torch' in sys.modules, 'onnx' in sys.modules)"
    )
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert run.stdout.strip() == "False False"


def test_the_default_encoder():
    encoder = open_encoder("efficientnet_lite0")
    assert encoder.name == "efficientnet_lite0"
    assert encoder.feature_dim == 1280
    assert encoder.preprocess == Preprocess()
    # Features on disk and bundles refer to it: it changes with the encoder only.
    assert encoder.encoder_id == "sha256:4729b3662aed8ae3"


def test_a_path_opens_the_same_encoder(tmp_path):
    path = tmp_path / "mine.onnx"
    path.write_bytes(SHIPPED.read_bytes())
    by_path = open_encoder(str(path))
    by_name = open_encoder("efficientnet_lite0")
    assert by_path.name == str(path)
    assert by_path.encoder_id == by_name.encoder_id
    image = np.full((1, 224, 224, 3), 77, np.uint8)
    assert np.array_equal(by_path.encode(image), by_name.encode(image))


def test_a_preprocess_of_the_bundle_wins():
    crop = Preprocess(fit=Fit.CROP)
    encoder = open_encoder("efficientnet_lite0", preprocess=crop)
    assert encoder.preprocess == crop
    assert encoder.encoder_id != open_encoder("efficientnet_lite0").encoder_id
    with pytest.raises(ModelError, match="expected pictures of 224x224 pixels, found 128x128"):
        open_encoder("efficientnet_lite0", preprocess=Preprocess(width=128, height=128))


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("efficientnet_lite", "efficientnet_lite0"),
        ("eficientnet-lite0", "efficientnet_lite0"),
        ("resnet50", "torchvision:resnet50"),
        ("torchvison:resnet50", "torchvision:resnet50"),
    ],
)
def test_a_misspelled_name_gets_the_nearest(name, nearest):
    with pytest.raises(ConfigError, match=f"did you mean {nearest}\\?$"):
        open_encoder(name)


def test_an_unknown_name_lists_what_there_is():
    with pytest.raises(
        ConfigError, match=r"efficientnet_lite0, a path to a \.onnx file or torchvision:NAME"
    ):
        open_encoder("qqq")


def test_a_missing_file_is_named():
    with pytest.raises(ModelError, match=r"/nowhere/m\.onnx: can't read"):
        open_encoder("/nowhere/m.onnx")


@pytest.mark.parametrize(
    ("name", "module", "message"),
    [
        ("efficientnet_lite0", "onnxruntime", r"needs onnxruntime.*'\.\[cpu\]'"),
        ("torchvision:resnet18", "torch", r"needs torch and torchvision.*'\.\[gpu\]'"),
    ],
)
def test_a_missing_package_names_the_extra(name, module, message, monkeypatch):
    for loaded in list(sys.modules):
        if loaded.startswith("streamer.models.encoders."):
            monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ModelError, match=message):
        open_encoder(name)


@pytest.mark.parametrize("text", ["gpu", "cuda:", "cuda:x", "CPU", "cpu:1", ""])
def test_an_unknown_device_is_refused(text):
    with pytest.raises(ConfigError, match="expected cpu, cuda or cuda:N, found"):
        parse_device(text)


def test_devices():
    assert parse_device("cpu") == Device(DeviceKind.CPU)
    assert parse_device("cuda") == Device(DeviceKind.CUDA, 0)
    assert parse_device("cuda:3") == Device(DeviceKind.CUDA, 3)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("torchvision:resnet50", TorchvisionReference(architecture="resnet50")),
        (
            "torchvision:vit_b_16?weights=random&seed=7",
            TorchvisionReference(architecture="vit_b_16", weights=NamedWeights.RANDOM, seed=7),
        ),
        (
            "torchvision:vgg16?weights=/a b/w=1.pth",
            TorchvisionReference(architecture="vgg16", weights=Path("/a b/w=1.pth")),
        ),
    ],
)
def test_references(name, expected):
    assert parse_reference(name) == expected


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("torchvision:", "found no name of a network"),
        ("torchvision:x?wights=random", "found 'wights=random'; did you mean 'weights'"),
        ("torchvision:x?weights=", "found 'weights='"),
        ("torchvision:x?weights=random&weights=random", "found 'weights=random'"),
        ("torchvision:x?seed=1", "a seed goes with weights=random only"),
        ("torchvision:x?weights=random&seed=-1", "expected a whole number from 0, found '-1'"),
    ],
)
def test_malformed_references_are_refused(name, message):
    with pytest.raises(ConfigError, match=message):
        open_encoder(name)

from __future__ import annotations

import os
import urllib.request

import numpy as np
import pytest

from streamer.core.errors import ConfigError, ModelError
from streamer.core.preprocess import Preprocess
from streamer.models.encoders.encoder import BatchPolicy
from streamer.models.encoders.reference import parse_reference

if os.environ.get("CI") == "true":
    import torch
    import torchvision
else:
    torch = pytest.importorskip("torch")
    torchvision = pytest.importorskip("torchvision")

import safetensors.torch

from streamer.models.encoders.torch import TorchEncoder

pytestmark = pytest.mark.torch

SMALL = Preprocess(width=64, height=48)


def open_torch(name, preprocess=SMALL, **options):
    options.setdefault("device", "cpu")
    return TorchEncoder(parse_reference(name), preprocess, name=name, **options)


def pictures(count, preprocess=SMALL, *, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, *preprocess.shape), dtype=np.uint8)


@pytest.fixture(scope="module")
def resnet18():
    return open_torch("torchvision:resnet18?weights=random")


@pytest.fixture(scope="module")
def network():
    """A resnet18 with ten classes, as somebody's fine-tuning would leave it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return torchvision.models.resnet18(num_classes=10).eval()


def test_shapes_and_types(resnet18):
    features = resnet18.encode(pictures(3))
    assert features.shape == (3, 512)
    assert features.dtype == np.float16
    assert resnet18.feature_dim == 512
    assert resnet18.preprocess == SMALL
    assert resnet18.batch_policy == BatchPolicy(max_size=4, max_wait_seconds=0)


def test_features_are_what_the_classifier_would_get(network, tmp_path):
    torch.save(network.state_dict(), tmp_path / "w.pth")
    encoder = open_torch(f"torchvision:resnet18?weights={tmp_path / 'w.pth'}")
    images = pictures(2)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    normal = ((torch.from_numpy(images) / 255 - mean) / std).permute(0, 3, 1, 2)
    got = []
    handle = network.fc.register_forward_pre_hook(lambda _module, inputs: got.append(inputs[0]))
    with torch.inference_mode():
        network(normal)
    handle.remove()
    np.testing.assert_allclose(encoder.encode(images), got[0].numpy(), rtol=2e-3, atol=1e-3)


def test_features_repeat_and_do_not_depend_on_batchmates(resnet18):
    images = pictures(4)
    features = resnet18.encode(images)
    assert np.array_equal(features, resnet18.encode(images))
    alone = np.concatenate([resnet18.encode(image[None]) for image in images])
    scale = np.abs(alone).max()
    np.testing.assert_allclose(features, alone, atol=1e-3 * scale)
    np.testing.assert_allclose(resnet18.encode(images[[2, 0]]), alone[[2, 0]], atol=1e-3 * scale)
    assert np.abs(alone[0].astype(np.float32) - alone[1]).max() > 0.01 * scale


def test_read_only_and_strided_pictures_are_taken(resnet18):
    images = pictures(4)
    expected = resnet18.encode(images[::2].copy())
    images.flags.writeable = False
    assert np.array_equal(resnet18.encode(images[::2]), expected)


def test_the_seed_decides_random_weights(resnet18):
    torch.manual_seed(123)
    before = torch.random.get_rng_state()
    again = open_torch("torchvision:resnet18?weights=random&seed=0")
    other = open_torch("torchvision:resnet18?weights=random&seed=1")
    assert again.encoder_id == resnet18.encoder_id != other.encoder_id
    assert np.array_equal(again.encode(pictures(1)), resnet18.encode(pictures(1)))
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("architecture", "feature_dim"),
    [("squeezenet1_1", 512), ("mobilenet_v3_small", 1024), ("shufflenet_v2_x0_5", 1024)],
)
def test_the_classifier_is_found_in_other_networks(architecture, feature_dim):
    encoder = open_torch(f"torchvision:{architecture}?weights=random", None)
    assert encoder.preprocess == Preprocess(width=224, height=224)
    assert encoder.encode(pictures(1, encoder.preprocess)).shape == (1, feature_dim)


def test_side_branches_of_a_file_are_left_out(tmp_path):
    whole = torchvision.models.googlenet(weights=None, aux_logits=True, init_weights=False)
    torch.save(whole.state_dict(), tmp_path / "w.pth")
    encoder = open_torch(f"torchvision:googlenet?weights={tmp_path / 'w.pth'}")
    assert encoder.feature_dim == 1024


def test_formats_of_files_give_the_same_encoder(network, tmp_path):
    torch.save(network.state_dict(), tmp_path / "w.pth")
    safetensors.torch.save_file(network.state_dict(), tmp_path / "w.safetensors")
    pth, safe = (
        open_torch(f"torchvision:resnet18?weights={tmp_path / file}")
        for file in ("w.pth", "w.safetensors")
    )
    assert pth.encoder_id == safe.encoder_id
    assert np.array_equal(pth.encode(pictures(2)), safe.encode(pictures(2)))
    larger = Preprocess(width=64, height=64)
    other = open_torch(f"torchvision:resnet18?weights={tmp_path / 'w.pth'}", larger)
    assert other.encoder_id != pth.encoder_id


class Payload:
    def __reduce__(self):
        return (print, ("this ran",))


def test_bad_files_of_weights_are_refused(network, tmp_path, capsys):
    def refusal(file):
        with pytest.raises(ModelError) as caught:
            open_torch(f"torchvision:resnet18?weights={tmp_path / file}")
        return str(caught.value)

    assert "no such file of weights" in refusal("none.pth")
    torch.save(network.state_dict(), tmp_path / "whole.pth")
    data = (tmp_path / "whole.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(data[: len(data) // 2])
    (tmp_path / "empty.pth").write_bytes(b"")
    (tmp_path / "noise.safetensors").write_bytes(b"nothing of the kind")
    for file in ("cut.pth", "empty.pth", "noise.safetensors"):
        assert "can't read the weights" in refusal(file)
    torch.save({"state_dict": network.state_dict(), "epoch": 3}, tmp_path / "wrapped.pth")
    assert "expected a state dict of tensors" in refusal("wrapped.pth")
    torch.save(Payload(), tmp_path / "code.pth")
    assert "can't read the weights" in refusal("code.pth")
    assert "this ran" not in capsys.readouterr().out
    squeezenet = torchvision.models.squeezenet1_1(weights=None)
    torch.save(squeezenet.state_dict(), tmp_path / "other.pth")
    assert "found those of another network" in refusal("other.pth")


def test_another_kind_of_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"expected weights as \.pth, \.pt or \.safetensors"):
        open_torch(f"torchvision:resnet18?weights={tmp_path / 'w.h5'}")


def test_weights_that_are_not_numbers_are_refused(network, tmp_path):
    state = network.state_dict() | {"layer4.1.bn2.bias": torch.full((512,), torch.nan)}
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(ModelError, match="expected finite features"):
        open_torch(f"torchvision:resnet18?weights={tmp_path / 'w.pth'}")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of torch and no network."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setattr(urllib.request, "_opener", None)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def test_default_weights_out_of_reach_say_where_to_put_them(cache):
    with pytest.raises(ModelError, match=r"can't get resnet18-\w+\.pth .* \?weights=random") as got:
        open_torch("torchvision:resnet18")
    assert str(cache) in str(got.value)


def test_default_weights_come_from_the_cache(cache):
    state = torchvision.models.resnet18(weights=None).state_dict()
    url = torchvision.models.ResNet18_Weights.DEFAULT.url
    torch.save(state, cache / url.rsplit("/", 1)[-1])
    torch.save(state, cache / "same.pth")
    encoder = open_torch("torchvision:resnet18")
    assert (
        encoder.encoder_id
        == open_torch(f"torchvision:resnet18?weights={cache / 'same.pth'}").encoder_id
    )


def test_a_picture_too_small_for_the_network_is_refused():
    tiny = Preprocess(width=4, height=4)
    with pytest.raises(ModelError, match="failed on 1 pictures of 4x4 pixels"):
        open_torch("torchvision:squeezenet1_1?weights=random", tiny)


def test_other_pictures_are_refused(resnet18):
    with pytest.raises(ModelError, match=r"expected pictures as uint8 \(N, 48, 64, 3\)"):
        resnet18.encode(np.zeros((1, 64, 48, 3), np.uint8))


def test_an_unknown_network_names_the_nearest():
    with pytest.raises(ConfigError, match="found 'resnt50'; did you mean resnet50"):
        open_torch("torchvision:resnt50")
    with pytest.raises(ConfigError, match="expected a classification model"):
        open_torch("torchvision:fasterrcnn_resnet50_fpn?weights=random")


def test_a_closed_encoder_says_so():
    encoder = open_torch("torchvision:squeezenet1_1?weights=random")
    encoder.close()
    encoder.close()
    with pytest.raises(ModelError, match="closed"):
        encoder.encode(pictures(1))


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_a_missing_gpu_is_not_replaced_by_the_cpu():
    with pytest.raises(ModelError, match="expected the device cuda:1, torch found 0 GPUs"):
        open_torch("torchvision:resnet18?weights=random", device="cuda:1")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same_features_in_bfloat16(resnet18):
    on_gpu = open_torch("torchvision:resnet18?weights=random", device=None)
    images = pictures(8)
    expected = resnet18.encode(images)
    assert on_gpu.encoder_id == resnet18.encoder_id
    assert on_gpu.batch_policy == BatchPolicy(max_size=64, max_wait_seconds=0.010)
    # bfloat16 has 8 bits of mantissa, and 18 layers add up.
    error = np.abs(on_gpu.encode(images).astype(np.float32) - expected)
    assert error.max() <= 0.05 * np.abs(expected).max()
    assert on_gpu.device == "cuda:0"
    memory = on_gpu.memory_bytes()
    assert memory["reserved"] >= memory["allocated"] > 10_000_000  # its weights, at least


def test_it_says_where_it_computes(resnet18):
    assert (resnet18.backend, resnet18.device) == ("torch", "cpu")
    assert resnet18.memory_bytes() == {}

"""The network: shapes, counts, ablations, missing leads, export, and refusals."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from ecgnet_lib.datasets.labels import DISEASES
from ecgnet_lib.errors import ConfigError, SignalError
from ecgnet_lib.network.checkpoint import load_checkpoint, save_checkpoint
from ecgnet_lib.network.ecgnet import (
    FoundationalECGNet,
    ModelConfig,
    combine,
    count_parameters,
    predict,
)

SMALL = ModelConfig(channels=8, width=16, d_ff=32, tst_layers=1, stem_layers=1)


def closed_form(c: ModelConfig) -> int:
    """Parameters of the network from its configuration alone."""
    n, e, f = c.channels, c.width, c.d_ff
    stem = c.patch * n + 2 * n
    block = 3 * n * n + 2 * n + (n * n + n)
    cbam = (2 * n * n // c.cbam_reduction + n // c.cbam_reduction + n + 14) if c.cbam else 0
    gat = {"v2": 2 * (n * n + n) + n + n, "v1": n * n + 2 * n + n, "none": 0}[c.gat]
    gat += 12 * n if c.gat != "none" else 0
    layer = (3 * e * e + 3 * e) + (e * e + e) + (e * f + f) + (f * e + e) + 4 * e
    tst = c.tst_layers * layer if c.tst else 0
    heads = (2 * e) * e + e + e + 1 + 5 * e + 5
    return stem + c.stem_layers * block + cbam + gat + (12 * n * e + e) + tst + heads


VARIANTS = [
    ModelConfig(),
    SMALL,
    dataclasses.replace(SMALL, cbam=False),
    dataclasses.replace(SMALL, gat="v1"),
    dataclasses.replace(SMALL, gat="none"),
    dataclasses.replace(SMALL, tst=False),
    dataclasses.replace(SMALL, graph="all", head="softmax", graph_tokens=1),
]


@pytest.mark.parametrize("config", VARIANTS)
def test_every_variant_runs_learns_and_counts(config: ModelConfig) -> None:
    torch.manual_seed(0)
    model = FoundationalECGNet(config)
    assert count_parameters(model) == closed_form(config)
    for samples in (250, 1000):
        abnormal, diseases = model(torch.randn(3, 12, samples))
        assert (abnormal.shape, diseases.shape) == ((3,), (3, len(DISEASES)))
    (abnormal.sum() + diseases.sum()).backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("tokens", [20, 25])
def test_each_graph_averages_its_tokens_and_adds_one_message_to_all(tokens: int) -> None:
    torch.manual_seed(0)
    model, maps = FoundationalECGNet(SMALL).eval(), {}
    h = torch.randn(2, 12, tokens, SMALL.channels)
    want = []
    for part in h.split(SMALL.graph_tokens, dim=2):  # the last may be short
        message = torch.nn.functional.elu(model.gat(part.mean(2) + model.lead_code))
        want.append(part + message.unsqueeze(2))
    torch.testing.assert_close(model.attend_leads(h, None, None), torch.cat(want, 2))
    torch.testing.assert_close(model.attend_leads(h, None, maps), torch.cat(want, 2))
    torch.testing.assert_close(maps["leads"].sum(-1), torch.ones(2, len(want), 4, 12))


def test_predict_is_joint_probability() -> None:
    torch.manual_seed(0)
    model = FoundationalECGNet(SMALL).eval()
    x = torch.randn(4, 12, 250)
    a, d = model(x)
    p, joint = predict(model, x)
    torch.testing.assert_close(p, torch.sigmoid(a))
    torch.testing.assert_close(joint, torch.sigmoid(a)[:, None] * torch.sigmoid(d))
    _, exclusive = combine(a, d, "softmax")
    torch.testing.assert_close(exclusive.sum(1), torch.sigmoid(a))


def test_a_missing_lead_has_no_influence() -> None:
    torch.manual_seed(0)
    model = FoundationalECGNet(SMALL).eval()
    x, present = torch.randn(2, 12, 250), torch.ones(2, 12, dtype=torch.bool)
    present[:, 5] = False
    other = x.clone()
    other[:, 5] = 7 * torch.randn(2, 250)
    torch.testing.assert_close(model(x, present), model(other, present))
    assert not torch.allclose(model(x)[0], model(other)[0])


def test_maps_have_the_documented_shapes() -> None:
    model = FoundationalECGNet(SMALL).eval()
    x = torch.randn(2, 12, 1000)
    *logits, maps = model(x, return_maps=True)
    shapes = {name: tuple(value.shape) for name, value in maps.items()}
    assert shapes == {
        "channel": (2, 12, 8),
        "temporal": (2, 12, 100),
        "leads": (2, 10, 4, 12, 12),
        "tokens": (2, 1, 4, 100, 100),
    }
    torch.testing.assert_close(logits[0], model(x)[0])


def test_export_matches() -> None:
    torch.manual_seed(0)
    model = FoundationalECGNet(SMALL).eval()
    x = torch.randn(2, 12, 250)
    program = torch.export.export(model, (x,))
    torch.testing.assert_close(program.module()(x), model(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shape", [(12, 250), (2, 11, 250), (2, 12, 255), (2, 12, 10)])
def test_wrong_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(SignalError, match="expected"):
        FoundationalECGNet(SMALL)(torch.zeros(shape))


def test_nan_is_refused() -> None:
    with pytest.raises(SignalError, match="NaN"):
        predict(FoundationalECGNet(SMALL).eval(), torch.full((1, 12, 250), float("nan")))


def test_unknown_configuration_is_refused() -> None:
    for wrong in ({"gat": "v3"}, {"head": "one"}, {"patch": 5}, {"gat_heads": 5}):
        with pytest.raises(ConfigError):
            ModelConfig(**wrong)


def test_checkpoint_round_trip_and_tampering(tmp_path) -> None:
    torch.manual_seed(0)
    model, path = FoundationalECGNet(SMALL).eval(), tmp_path / "m.json"
    save_checkpoint(model, path, {"data": "test"})
    again, about = load_checkpoint(path)
    x = torch.randn(2, 12, 250)
    assert torch.equal(again(x)[0], model(x)[0])
    assert about["data"] == "test"

    original = path.read_text()
    for key, value in [("diseases", ["MI"]), ("format", 2), ("weights_sha256", "0")]:
        path.write_text(json.dumps(json.loads(original) | {key: value}))
        with pytest.raises(ConfigError, match=r"m\."):
            load_checkpoint(path)
    for change in ({"width": 32}, {"chanels": 3}):
        other = json.loads(original)
        other["config"] |= change
        path.write_text(json.dumps(other))
        with pytest.raises(ConfigError, match="do not fit"):
            load_checkpoint(path)
    path.write_text(original)
    weights = path.with_suffix(".safetensors")
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(ConfigError, match="weights_sha256"):
        load_checkpoint(path)
    weights.unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        load_checkpoint(path)

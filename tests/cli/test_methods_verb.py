"""The list of methods, some of its numbers counted by hand."""

import dataclasses
import json

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from vireid.cli import main
from vireid.cli.methods import Listing, methods
from vireid.methods import catalogue, dlis, on_cpu, pcb, tslfn
from vireid.methods.cost import cost
from vireid.types import Modality

_RESNET50 = 23_508_032  # without its classifier


@pytest.fixture(scope="module")
def listed() -> dict[str, Listing]:
    return {row.name: row for row in methods()}


def test_the_shipped_table_is_what_is_measured() -> None:
    # If it is not: vireid methods --measure --json > src/vireid/cli/methods.json
    assert methods() == methods(measure=True)


def resnet50_multiply_adds(height: int, width: int) -> int:
    """Of the convolutions, the last stride 1."""
    height, width = height // 2, width // 2
    total = 3 * 64 * 49 * height * width
    height, width, channels = height // 2, width // 2, 64
    for blocks, inner, stride in ((3, 64, 1), (4, 128, 2), (6, 256, 2), (3, 512, 1)):
        for block in range(blocks):
            total += channels * inner * height * width
            if block == 0:
                height, width = height // stride, width // stride
                total += channels * 4 * inner * height * width
            total += (9 * inner * inner + inner * 4 * inner) * height * width
            channels = 4 * inner
    return total


def test_parameters_are_those_counted_by_hand(listed: dict[str, Listing]) -> None:
    stripes = 6 * (2048 * 512 + 512 + 2 * 512) + 6 * (512 * 395 + 395)
    assert listed["tslfn"].parameters == 2 * _RESNET50 + stripes
    assert listed["dlis"].parameters == 2 * _RESNET50 + stripes + 5_245_441
    shared = (2048 * 256 + 256 + 2 * 256) + 6 * (256 * 395 + 395)
    assert listed["pcb"].parameters == _RESNET50 + shared


def test_operations_are_those_counted_by_hand(listed: dict[str, Listing]) -> None:
    # Of two streams one sees the image, and no classifier does.
    stripes = 6 * 2048 * 512
    assert listed["tslfn"].flops == 2 * (resnet50_multiply_adds(288, 144) + stripes)
    positions = 18 * 9
    projections = positions * 2048 * (256 + 256 + 2048)
    attention = positions * positions * (256 + 2048)
    palm = projections + attention
    assert listed["dlis"].flops == 2 * (resnet50_multiply_adds(288, 144) + stripes + palm)
    assert listed["pcb"].flops == 2 * (resnet50_multiply_adds(384, 128) + 6 * 2048 * 256)


def test_what_is_counted_without_values_is_what_is_computed() -> None:
    config = dataclasses.replace(on_cpu(pcb.recipe()).method, weights="none")
    network = config.build(classes=395).eval()
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        features = network.extract_features(torch.randn(1, 3, 144, 72), Modality.INFRARED)
    found = cost(config)
    assert found.flops == counter.get_total_flops()
    assert found.feature == features.shape[1]


def test_the_weights_are_of_no_account() -> None:
    for config in (on_cpu(dlis.recipe()).method, on_cpu(tslfn.recipe()).method):
        assert cost(config) == cost(dataclasses.replace(config, weights="none"))


def test_every_recipe_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods"]) == 0
    printed = capsys.readouterr().out
    head, *lines = printed.split("\n\n")[0].splitlines()
    assert [line.split()[0] for line in lines] == list(catalogue())
    for line, entry in zip(lines, catalogue().values(), strict=True):
        assert f"  {entry.paper.year}  {entry.paper.name}, {entry.paper.venue}" in line
        assert line.endswith(entry.summary)
    line = next(line for line in lines if line.startswith("pcb "))
    assert "  2018  PCB, ECCV " in line
    assert " resnet50 " in line
    assert " 384x128 " in line
    # Figures stand under the end of their heading.
    for figure, heading in (("12288", "feature"), ("24.6", "M params"), ("12.17", "GFLOPs")):
        assert line.index(figure) + len(figure) == head.index(heading) + len(heading)
    assert "multiply-add counted as two" in printed


def test_json_has_the_exact_counts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == list(catalogue())
    found = next(row for row in rows if row["name"] == "pcb")
    assert found["title"] == pcb.PAPER.title
    assert (found["size"], found["feature"]) == ([384, 128], 12_288)
    assert found["parameters"] == 24_642_178

"""Figures: true proportions, units, and alternative text that states what is drawn."""

from __future__ import annotations

import io
import itertools
import re

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Arc

from ecgnet_lib import figures
from ecgnet_lib.datasets.labels import CLASSES
from ecgnet_lib.datasets.records import LEADS, in_standard_order, read
from ecgnet_lib.errors import PageError, SignalError
from ecgnet_lib.evaluation import results
from ecgnet_lib.evaluation.metrics import per_class
from ecgnet_lib.evaluation.results import ablation, effect
from ecgnet_lib.figures import method, style

FS_HZ = 100


@pytest.fixture(scope="module")
def signal() -> np.ndarray:
    """Ten seconds of small noise; the highest point is 1.7 mV in V4, the lowest -1.3 mV in aVR."""
    x = 0.05 * np.random.default_rng(0).standard_normal((12, 1000))
    x[LEADS.index("V4"), 850], x[LEADS.index("aVR"), 300] = 1.7, -1.3
    return x


def texts(ax) -> list[str]:
    return [text.get_text() for text in ax.texts]


def stages(x: np.ndarray) -> list[figures.Stage]:
    """Return one stage of each kind, the middle one with a map at its side."""
    return [
        figures.Stage("recording", "in mV", (12, 250), x[:, :250], "traces"),
        figures.Stage("CBAM", "which,\nwhen", (12, 4, 25), x[:4, :25], beside=np.eye(3)),
        figures.Stage("two stages", "which?", (2,), np.array([0.2, 0.7]), ("no", "yes")),
    ]


def looks_back(tokens: int) -> np.ndarray:
    """Return attention (P, P) in which each token attends to those 5, 10 and 15 before it."""
    weights = np.full((tokens, tokens), 1e-3)
    for back, share in ((5, 0.5), (10, 0.3), (15, 0.1)):
        weights += share * np.eye(tokens, k=-back)
    return weights


def every_figure(x: np.ndarray) -> dict[str, object]:
    """Draw every picture once, from small data of known content."""
    rng = np.random.default_rng(1)
    attention = rng.dirichlet(np.ones(12), 12)
    attention[6, 9] = 2.0  # V1 attends most to V4
    truth = pd.DataFrame(rng.random((200, 2)) < 0.4, columns=["MI", "HYP"])
    scores = truth * 0.3 + rng.random((200, 2)) * 0.7
    table = pd.DataFrame(rng.random((30, 6)) < 0.5, columns=list(CLASSES))
    table["source"] = "ptb-xl"
    history = pd.DataFrame({"epoch": [1, 2], "loss": [0.9, 0.5], "val_loss": [0.8, 0.6],
                            "val_auc": [0.6, 0.7], "seconds": [1.0, 2.0]})  # fmt: skip
    return {
        "ecg_paper": figures.ecg_paper(x, FS_HZ),
        "ecg_strip": figures.ecg_strip(x[:2], FS_HZ, LEADS[:2], heat=[np.linspace(0, 1, 50)] * 2),
        "spectrum": figures.spectrum({"II": x[1]}, FS_HZ),
        "scalogram": figures.scalogram(
            np.ones((5, 1000)), np.geomspace(1, 40, 5), np.arange(1000) / FS_HZ, x[1]
        ),
        "journey": figures.journey(stages(x)),
        "gates": figures.gates(x[:4, :25], [0.1, 0.9, 0.5, 0.3], np.ones(25), x[:4, :25], 2.5),
        "patches": figures.patches(x[1, :250], FS_HZ, 20, 10),
        "arcs": figures.token_attention_arcs(x[1, :250], FS_HZ, looks_back(25), 20),
        "lead_graph": figures.lead_graph(attention),
        "token_attention": figures.token_attention(np.eye(10), 5.0),
        "training_curves": figures.training_curves(history, kept=2),
        "class_counts": figures.class_counts(table),
        "whiskers": figures.whiskers(
            per_class(truth, scores, scores > 0.5, np.arange(200), resamples=50), figures.METRICS
        ),
        "confusion_matrix": figures.confusion_matrix([[8, 2], [3, 7]], ["no", "yes"]),
        "ranking_curves": figures.ranking_curves(truth, scores),
        "reliability": figures.reliability([0, 1, 1, 0], [0.1, 0.9, 0.8, 0.2]),
    }


@pytest.fixture(scope="module")
def drawn(signal) -> dict[str, object]:
    return every_figure(signal)


def test_every_axis_names_its_quantity_and_its_unit(drawn):
    unit = re.compile(r"\((s|mV|Hz|mV²/Hz|count|nats|0 to 1|dB below max\.|[a-z ]+)\)")
    bare = {"class", "predicted class", "true class", "which", "when"}
    seen = 0
    for name, fig in drawn.items():
        for ax in fig.axes:
            if not ax.axison:  # diagrams have no axes to name
                continue
            labels = [
                text.replace("\n", " ") for text in (ax.get_xlabel(), ax.get_ylabel()) if text
            ]
            assert labels, f"{name} has an axis without any label"
            for label in labels:
                ok = unit.search(label) or label in bare or label.startswith("time (s)")
                assert ok, f"{name}: {label!r} has no unit"
            seen += len(labels)
    assert seen > 25


def test_paper_has_squares_of_one_and_five_millimetres(drawn):
    ax = drawn["ecg_paper"].axes[0]
    for ticks, small, large in ((ax.xaxis, 0.04, 0.2), (ax.yaxis, 0.1, 0.5)):
        minor, major = ticks.get_minor_locator(), ticks.get_major_locator()
        np.testing.assert_allclose(np.diff(minor.tick_values(0, 2)), small)
        np.testing.assert_allclose(np.diff(major.tick_values(0, 2)), large)
        for which in ("minor", "major"):
            assert all(t.gridline.get_visible() for t in getattr(ticks, f"get_{which}_ticks")())


@pytest.mark.parametrize("seconds", [1.0, 2.5, 10.0, 30.0])
def test_a_millimetre_is_as_wide_as_it_is_high(signal, seconds):
    n = int(seconds * FS_HZ)
    x = np.tile(signal, 3)[:, :n]
    for fig in (figures.ecg_strip(x[:3], FS_HZ, LEADS[:3]), figures.ecg_paper(x, FS_HZ)):
        fig.savefig(io.BytesIO(), format="raw", dpi=100)
        to_pixels = fig.axes[0].transData.transform
        (x0, y0), (x1, y1) = to_pixels((0, 0)), to_pixels((1 / 25, 1 / 10))  # 1 mm by 1 mm
        assert x1 - x0 == pytest.approx(y1 - y0, rel=1e-6)
        box = fig.axes[0].get_window_extent()  # nothing was squeezed to make it so
        assert box.x1 <= fig.bbox.width + 1
        height_mv = np.ptp(fig.axes[0].get_ylim())
        assert box.height == pytest.approx(height_mv * 10 * (y1 - y0), rel=0.01)


def test_paper_shows_each_lead_in_its_quarter_and_lead_ii_in_full(drawn, signal):
    ax = drawn["ecg_paper"].axes[0]
    assert sorted(texts(ax)) == sorted([*LEADS, "II"])
    place = {t.get_text(): t.get_position() for t in ax.texts}
    for row, lead in enumerate(LEADS):
        if lead != "II":
            assert 0 <= place[lead][0] - 2.5 * (row // 3) < 0.5
    spans = [line.get_xdata() for line in ax.lines if len(line.get_xdata()) > 100]
    assert sorted(round(s[-1] - s[0], 1) for s in spans) == [2.5] * 12 + [10.0]
    peak = max(line.get_ydata().max() - np.median(line.get_ydata()) for line in ax.lines)
    assert peak == pytest.approx(1.7, abs=0.1)  # V4, which is shown from 7.5 s on


def test_alternative_text_states_what_is_drawn(drawn):
    say = {name: fig.get_label() for name, fig in drawn.items()}
    assert all(text.endswith(".") and len(text) > 20 for text in say.values())
    assert "10 s at 100 Hz" in say["ecg_paper"]
    assert "+1.7 mV in V4" in say["ecg_paper"] and "-1.3 mV in aVR" in say["ecg_paper"]
    assert "Attention is highest at 9.9 s" in say["ecg_strip"]
    assert "V1 attends most to V4" in say["lead_graph"]
    assert "CBAM 12×4×25: which, when." in say["journey"]
    assert "gate of a feature runs from 0.10 to 0.90" in say["gates"]
    assert "25 patches of 200 ms, one every 100 ms" in say["patches"]
    assert "2.05 s of lead II attends most to 1.55 s (50%), 1.05 s (30%)" in say["arcs"]
    assert "attends 0.00 s away" in say["token_attention"]
    assert "loss from 0.900 to 0.500" in say["training_curves"]
    assert "no 8 of 10, yes 7 of 10" in say["confusion_matrix"]
    assert "error is 0.150" in say["reliability"]
    assert re.search(r"MI: AUC 0\.\d\d \(0\.\d\d to", say["whiskers"])


def test_spectrum_and_counts_report_the_data():
    t = np.arange(4000) / FS_HZ
    fig = figures.spectrum({"a sine": np.sin(2 * np.pi * 12 * t)}, FS_HZ)
    assert "half of the power lies below 12.0 Hz" in fig.get_label()
    table = pd.DataFrame(False, index=range(7), columns=list(CLASSES)).assign(source="ludb")
    table.loc[:4, "MI"] = True
    table.loc[0, "source"] = "ptb-xl"
    fig = figures.class_counts(table)
    assert "ludb: NORM 0, ARR 0, CD 0, MI 4" in fig.get_label()
    bars = {bar.get_width() for group in fig.axes[0].containers for bar in group}
    assert {4.0, 1.0, 0.0} == bars


def dots(ax) -> list[tuple[float, float]]:
    """Return where the dots of one panel stand, in the order of drawing."""
    return [
        tuple(line.get_xydata()[0]) for line in ax.lines if line.get_marker() not in ("", "None")
    ]


def test_whiskers_of_too_few_positives_are_named_but_not_drawn():
    row = {"positives": 50, "estimable": True, "auc": 0.9, "auc_low": 0.8, "auc_high": 0.95}
    table = pd.DataFrame([row, row | {"positives": 3, "estimable": False}], index=["MI", "QT"])
    fig = figures.whiskers(table, "auc", n="positives")
    (ax,) = fig.axes
    assert texts(ax) == ["not estimable"] and dots(ax) == [(0.9, 0.0)]
    assert [[*line.get_xdata()] for line in ax.lines if len(line.get_xdata()) == 2] == [[0.8, 0.95]]
    assert "MI (n = 50): AUC 0.90 (0.80 to 0.95); QT (n = 3): AUC not estimable" in fig.get_label()


def test_whiskers_tell_panels_and_kinds_apart():
    table = pd.DataFrame([
        {"panel": panel, "kind": kind, "row": row, "value": 10 * p + k, "low": -1, "high": 99}
        for p, panel in enumerate(("left", "right")) for k, kind in enumerate(("a", "b"))
        for row in ("x", "y") if (panel, row) != ("left", "y")
    ])  # fmt: skip
    lines, sound = {"right": [5.0]}, ["y"]
    fig = figures.whiskers(table, xlabel="v (s)", lines=lines, line_name="limit", sound=sound)
    left, right = fig.axes
    assert [x for x, _ in dots(left)] == [0, 1] and [x for x, _ in dots(right)] == [10, 10, 11, 11]
    heights = [y for _, y in dots(right)]
    assert np.round(heights) == pytest.approx([0, 1, 0, 1]) and len(set(heights)) == 4
    assert [a.get_xdata()[0] for a in right.lines if a.get_linestyle() == "--"] == [5.0]
    assert not [a for a in left.lines if a.get_linestyle() == "--"]
    grounds = [patch.get_facecolor() for patch in left.patches]
    assert len(grounds) == 2 and to_rgb(grounds[1]) == to_rgb("#eef4f9") != to_rgb(grounds[0])
    assert [text.get_text() for text in fig.legends[0].texts] == ["a", "b", "limit"]
    assert "y: right a 10.00 (-1.00 to 99.00)" in fig.get_label()
    assert fig.get_label().endswith("Dashed: limit, at 5.")


def part(value: float, half: float = 0.1) -> dict[str, float]:
    return {"value": value, "low": value - half, "high": value + half, "n": 1234}


def test_compared_networks_stand_at_their_values_and_not_against_themselves():
    rows = {
        "none": {"macro_auc": part(0.8), "difference_to_none": part(0.0)},
        "ours": {"macro_auc": part(0.85), "difference_to_none": part(0.05)},
    }
    fig = figures.compared(rows, "none", title="T")
    assert [[x for x, _ in dots(ax)] for ax in fig.axes] == [[0.8, 0.85], [0.05]]
    want = 'ours: macro AUC 0.850 (0.750 to 0.950), macro AUC minus that of "none" 0.050'
    assert want in fig.get_label()


def test_bars_are_as_long_as_their_numbers_and_say_them():
    fig = figures.bars({"stem": 0.25, "GAT": 1.5}, "time (ms)", form=".1f", title="A pass")
    assert [bar.get_width() for bar in fig.axes[0].patches] == [0.25, 1.5]
    assert fig.get_label() == "A pass: time (ms): stem 0.2; GAT 1.5."
    assert [text.get_text() for text in fig.axes[0].texts] == ["0.2", "1.5"]


def test_an_ablation_is_compared_with_the_network_that_saw_real_recordings_only(monkeypatch):
    full = {"macro_auc": part(0.8), "difference_to_ours": part(-0.05)}
    less = {"macro_auc": part(0.7), "difference_to_ours": part(-0.2),
            "difference_to_labels only": part(-0.1)}  # fmt: skip
    methods = {"ours": {"macro_auc": part(0.9)}, "labels only": full, "no GAT": less}
    result = {"protocols": {"B": {"methods": methods}}}
    monkeypatch.setattr(results, "load_result", lambda _: result)
    rows = ablation("GAT", "not run")
    assert list(rows) == ["full", "no GAT"]
    assert rows["full"]["macro_auc"]["value"] == 0.8
    assert rows["no GAT"]["difference_to_full"]["value"] == -0.1
    assert rows["no GAT"]["effect"].startswith("changes the macro AUC by -0.100")


@pytest.mark.parametrize(
    ("difference", "said"),
    [
        (part(-0.02, 0.01), "costs 0.020 of macro AUC here (95 % interval 0.010 to 0.030)"),
        (part(+0.02, 0.01), "gains 0.020 of macro AUC here (95 % interval 0.010 to 0.030)"),
        (part(-0.02, 0.03), "changes the macro AUC by -0.020 (95 % interval -0.050 to +0.010), "
         "which 1,234 recordings cannot tell apart from no change"),
    ],
)  # fmt: skip
def test_an_effect_is_named_only_where_the_interval_excludes_zero(difference, said):
    assert effect(difference) == said


def test_reliability_intervals_are_wilsons():
    fig = figures.reliability([1] * 8 + [0] * 2, [0.75] * 10)
    (segment,) = fig.axes[0].collections[0].get_segments()
    # Wilson's 95 % interval of 8 in 10, from the textbook: 0.490 to 0.943
    np.testing.assert_allclose(segment[:, 1], [0.4902, 0.9433], atol=1e-3)


def test_graph_of_ones_is_drawn_as_pairs():
    ring = np.eye(12, dtype=bool) | np.roll(np.eye(12, dtype=bool), 1, axis=1)
    fig = figures.lead_graph(ring | ring.T)
    assert "12 pairs may attend" in fig.get_label()
    assert len(fig.axes) == 1  # no colour bar: there is nothing to scale


def test_leads_stand_where_they_belong():
    places = {lead: np.array(place) for lead, place in method.PLACES.items()}
    assert set(places) == set(LEADS)
    # seen from the front: V1 on the patient's right of the breastbone, V2 on the left, V6 leftmost
    assert places["V1"][0] < 0 < places["V2"][0]
    assert places["V1"][1] == places["V2"][1]
    across = [places[f"V{k}"][0] for k in range(1, 7)]
    assert across == sorted(across)
    assert places["V4"][1] == places["V5"][1] == places["V6"][1] < places["V2"][1]
    np.testing.assert_allclose(places["V3"], (places["V2"] + places["V4"]) / 2, atol=0.01)
    # directions of the limb leads, degrees towards the feet; -aVR is what is drawn of aVR
    angles = {"aVL": -30, "I": 0, "aVR": 30, "II": 60, "aVF": 90, "III": 120}
    for lead, angle in angles.items():
        x, y = places[lead] / np.linalg.norm(places["I"])
        assert np.degrees(np.arctan2(-y, x)) == pytest.approx(angle)
        assert np.hypot(x, y) == pytest.approx(1)
    fig = figures.lead_graph(np.eye(12))
    assert "-aVR" in texts(fig.axes[0]) and "aVR" not in texts(fig.axes[0])


def test_arrows_run_from_source_to_target():
    weights = np.zeros((12, 12))
    weights[LEADS.index("V1"), LEADS.index("V4")] = 0.7
    ax = figures.lead_graph(weights).axes[0]
    arrows = [p for p in ax.patches if getattr(p, "_posA_posB", None)]
    start, stop = arrows[-1]._posA_posB  # the others are the limb leads
    assert tuple(start) == method.PLACES["V4"]
    assert tuple(stop) == method.PLACES["V1"]
    assert len(arrows) == 7


def test_journey_draws_what_it_is_given(signal):
    traces, heat, side, bars = figures.journey(stages(signal)).axes
    drawn = np.array([line.get_ydata() for line in traces.lines])
    shifts = drawn - signal[:, :250]
    assert len(drawn) == 12 and np.ptp(shifts, axis=1).max() < 1e-9
    assert (np.diff(shifts[:, 0]) < 0).all()  # the first lead on top
    np.testing.assert_array_equal(heat.images[0].get_array(), signal[:4, :25])
    assert sum(heat.images[0].get_clim()) == 0  # no value, the middle colour
    np.testing.assert_array_equal(side.images[0].get_array(), np.eye(3))
    assert [bar.get_height() for bar in bars.patches] == [0.2, 0.7]
    assert [label.get_text() for label in bars.get_xticklabels()] == ["no", "yes"]


def test_gates_sort_features_from_open_to_shut(signal):
    gates = np.array([0.1, 0.9, 0.5])
    before = np.abs(signal[:3, :25]) + 1
    after = before * gates[:, None] * 0.5
    fig = figures.gates(before, gates, np.full(25, 0.5), after, 2.5)
    left, which, right, when, _ = fig.axes
    np.testing.assert_array_equal(left.images[0].get_array(), before[[1, 2, 0]])
    np.testing.assert_array_equal(right.images[0].get_array(), after[[1, 2, 0]])
    np.testing.assert_array_equal(which.images[0].get_array()[:, 0], [0.9, 0.5, 0.1])
    assert (when.images[0].get_array() == 0.5).all()


def test_patches_are_those_of_the_stem(signal):
    ax = figures.patches(signal[1, :250], FS_HZ, 20, 10).axes[0]
    bars = sorted((p.get_x(), p.get_x() + p.get_width(), p.get_y()) for p in ax.patches)
    middles = [(a + b) / 2 for a, b, _ in bars]
    assert len(bars) == 25
    np.testing.assert_allclose(middles[1:-1], 0.05 + 0.1 * np.arange(1, 24))
    assert all(b - a == pytest.approx(0.2, abs=0.02) for a, b, _ in bars[1:-1])
    for line in {y for *_, y in bars}:  # bars on one line do not touch
        mine = [(a, b) for a, b, y in bars if y == line]
        assert all(b < c for (_, b), (c, _) in itertools.pairwise(mine))


def test_arcs_join_the_token_to_those_it_hears(signal):
    fig = figures.token_attention_arcs(signal[1, :250], FS_HZ, looks_back(25), 20)
    arcs = [p for p in fig.axes[0].patches if isinstance(p, Arc)]
    arcs = sorted(arcs, key=lambda a: -a.get_linewidth())
    ends = [a.center[0] + side * a.width / 2 for a in arcs[:3] for side in (-1, 1)]
    assert ends == pytest.approx([1.55, 2.05, 1.05, 2.05, 0.55, 2.05])
    assert len({a.get_linewidth() for a in arcs[:3]}) == 3


def test_show_gives_image_and_escaped_text_or_refuses_without(capsys, drawn):
    figures.show(drawn["gates"], alt='say "<b>"')
    assert capsys.readouterr().out.strip() == 'say "<b>"'
    page = style.Picture(b"png", 'say "<b>"', 540)._repr_html_()
    assert 'alt="say &quot;&lt;b&gt;&quot;"' in page and 'width="540"' in page
    assert 'src="data:image/png;base64,cG5n"' in page
    with pytest.raises(PageError, match="alternative text"):
        figures.show(Figure())


@pytest.mark.parametrize(
    "draw",
    [
        lambda x: figures.ecg_paper(x[:11], FS_HZ),
        lambda x: figures.ecg_strip(np.tile(x[:1], 4), FS_HZ, ["I"]),
        lambda x: figures.ecg_strip(x[:1], FS_HZ, ["I"], heat=np.ones((3, 5))),
        lambda x: figures.ecg_heat(x, FS_HZ, np.ones((3, 5))),
        lambda x: figures.lead_graph(np.eye(11)),
        lambda x: figures.journey([figures.Stage("a", "b", (1,), x[0])]),
        lambda x: figures.gates(x[:4], np.ones(3), np.ones(1000), x[:4], 10),
        lambda x: figures.patches(x, FS_HZ, 20, 10),
        lambda x: figures.token_attention_arcs(x[0], FS_HZ, np.eye(5), 5),
        lambda x: figures.reliability([1.0], [1.5]),
    ],
)
def test_bad_input_is_refused_by_name(draw, signal):
    with pytest.raises(SignalError):
        draw(signal)


def test_a_gap_and_a_short_recording_are_drawn(signal):
    x = signal[:, :250].copy()
    x[2, 20:60] = np.nan
    fig = figures.ecg_paper(x, FS_HZ, marks={"P": [], "QRS": [(0.5, 0.6)]})
    assert "2.5 s" in fig.get_label() and "QRS from 0.50 to 0.60 s" in fig.get_label()
    assert all(np.isfinite(fig.axes[0].get_ylim()))


# Full deficiency, linear RGB: Machado, Oliveira and Fernandes (2009).
DEFICIENCIES = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
               [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
               [-0.011820, 0.042940, 0.968881]],
}  # fmt: skip


def lab(colour: str, matrix: np.ndarray) -> np.ndarray:
    """Return CIE L*a*b* (D65) of a colour as seen through a deficiency."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(matrix @ linear, 0, 1)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    f = np.cbrt(np.array(to_xyz) @ linear / [0.9505, 1.0, 1.089])
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("kind", ["normal", *DEFICIENCIES])
def test_colours_stay_apart_for_colour_blind_eyes(kind):
    matrix = np.array(DEFICIENCIES.get(kind, np.eye(3)))
    palettes = {
        "palette": style.PALETTE,
        "classes": tuple(style.CLASS_COLOURS.values()),
        "waves": tuple(style.WAVES.values()),
        "layers": style.LAYERS[:3],
    }
    for name, colours in palettes.items():
        for a, b in itertools.combinations(colours, 2):
            distance = np.linalg.norm(lab(a, matrix) - lab(b, matrix))
            assert distance > 10, f"{name}: {a} and {b} look alike ({kind}, {distance:.1f})"


def test_red_and_green_would_fail_that_test():
    matrix = np.array(DEFICIENCIES["deutan"])
    assert np.linalg.norm(lab("#8c7300", matrix) - lab("#a06a00", matrix)) < 10


def test_real_recordings_are_drawn(physionet):
    recording = read(physionet / "ptb-xl" / "records100" / "00000" / "00001_lr")
    x = in_standard_order(recording)
    label = figures.ecg_paper(x, recording.fs_hz).get_label()
    assert f"{x.max():+.1f} mV in {LEADS[x.max(axis=1).argmax()]}" in label

"""The style that all figures share, and how a figure reaches a page with its alternative text."""

from __future__ import annotations

import base64
import html
import io

import matplotlib as mpl
from matplotlib.figure import Figure

from ecgnet_lib.datasets.labels import CLASSES
from ecgnet_lib.errors import PageError

# Okabe and Ito (2008): eight colours that people with colour-vision deficiencies tell apart.
BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, YELLOW, BLACK = "#CC79A7", "#56B4E9", "#F0E442", "#000000"
PALETTE = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, BLACK)  # yellow is too faint for lines
CLASS_COLOURS = dict(zip(CLASSES, (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY), strict=True))
WAVES = {"P": SKY, "QRS": ORANGE, "T": GREEN}
LAYERS = ("#8c8c8c", VERMILION, BLUE, GREEN)  # a signal in grey, and what is drawn over it
HEAT = "cividis"  # the same to colour-blind eyes, and monotone when printed in grey

WIDTH_IN = 7.0  # text column of a page; 1 inch is shown as 100 CSS pixels
INK, GREY = "#1a1a1a", "#707070"

STYLE = {
    "axes.prop_cycle": mpl.cycler(color=PALETTE),
    **{"axes.axisbelow": True, "axes.spines.top": False, "axes.spines.right": False},
    "axes.edgecolor": "#808080",
    **{"axes.titlesize": 10, "axes.titlelocation": "left", "axes.titleweight": "bold"},
    **{"figure.titlesize": 10, "figure.titleweight": "bold"},
    **{"font.size": 9, "axes.labelsize": 9, "xtick.labelsize": 8.5, "ytick.labelsize": 8.5},
    **{"legend.fontsize": 8.5, "legend.frameon": False},
    "grid.color": "#e3e3e3",
    "lines.linewidth": 1.4,
}


def subplots(height_in: float, *grid: int, width_in: float = WIDTH_IN, **more) -> tuple:
    """Return a figure that pyplot does not know, as wide as a page's column, and its axes."""
    fig = Figure(figsize=(width_in, height_in), layout="constrained")
    return fig, fig.subplots(*grid, **more)


def described(fig: Figure, title: str, alt: str) -> Figure:
    """Give a figure its alternative text as its label; a title, if there is one, comes first."""
    fig.set_label(f"{title}: {alt}" if title else alt[0].upper() + alt[1:])
    return fig


def titled(fig: Figure, title: str, alt: str) -> Figure:
    """Write the title above a figure, at its left end, and give it its alternative text."""
    if title:
        fig.suptitle(title, x=0.01, ha="left")
    return described(fig, title, alt)


class Picture:
    """An image with its alternative text, for Jupyter (HTML) and for terminals (the text)."""

    def __init__(self, png: bytes, alt: str, width_px: int) -> None:
        self.png, self.alt, self.width_px = png, alt, width_px

    def __repr__(self) -> str:
        return self.alt

    def _repr_html_(self) -> str:
        # An <img> of our own, since a notebook's image output has no place for alternative text.
        # "dark-light" tells the theme that the white card needs no dimming in dark mode.
        data = base64.b64encode(self.png).decode()
        card = "background:#fff;border-radius:4px;display:block;margin:auto"
        return (
            f'<img class="dark-light" style="{card};max-width:100%;height:auto" width='
            f'"{self.width_px}" alt="{html.escape(self.alt)}" src="data:image/png;base64,{data}">'
        )


def show(fig: Figure, alt: str | None = None) -> None:
    """Put a figure on the page with its alternative text, `alt` or else its label, and close it.

    Raises PageError for a figure without alternative text.
    """
    import matplotlib.pyplot as plt
    from IPython.display import display

    display(picture(fig, alt))
    plt.close(fig)


def picture(fig: Figure, alt: str | None = None) -> Picture:
    """Return a figure as an image with its alternative text, as `show` does."""
    from PIL import Image

    alt = alt or fig.get_label()
    if not alt:
        raise PageError("a figure has no alternative text", remedy="pass alt= to show()")
    large, small = io.BytesIO(), io.BytesIO()
    fig.savefig(large, format="png", dpi=200, facecolor="white")  # twice the shown pixels
    image = Image.open(large).convert("RGB")
    image.quantize(256, dither=Image.Dither.NONE).save(small, "png", optimize=True)  # a third
    return Picture(small.getvalue(), alt, image.width // 2)

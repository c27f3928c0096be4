"""Write the drawings of the documentation: ``python docs/drawings.py``.

The pages embed them, so that they take the colours of the page, light or dark. As files, they
follow the system's scheme.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from math import exp
from pathlib import Path

STYLE = """
svg.drawing{--fg:var(--md-default-fg-color,#1f2328);max-width:100%;height:auto;font:13px sans-serif}
svg.drawing text{fill:var(--fg);text-anchor:middle}
svg.drawing .left{text-anchor:start}
svg.drawing .bold{font-weight:bold}
svg.drawing .line{stroke:var(--fg);stroke-width:1.3;fill:none}
svg.drawing .head{fill:var(--fg)}
svg.drawing .dash{stroke-dasharray:4 3}
svg.drawing .visible{fill:#3b82d6;stroke:#3b82d6}
svg.drawing .infrared{fill:#e0662f;stroke:#e0662f}
svg.drawing .shared{fill:#8a8f98;stroke:#8a8f98}
svg.drawing .right{fill:#2e9e58;stroke:#2e9e58}
svg.drawing .area{fill-opacity:.2;stroke-width:1.3}
@media(prefers-color-scheme:dark){svg.drawing{--fg:var(--md-default-fg-color,#e6edf3)}}
"""


class Drawing:
    """An SVG image.

    Args:
        title: What it shows, for readers who cannot see it.
        width: Width in pixels.
        height: Height in pixels.
    """

    def __init__(self, title: str, width: int, height: int) -> None:
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="drawing" width="{width}"'
            f' viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">',
            f"<style>{STYLE.replace(chr(10), '')}</style>",
        ]

    def text(self, x: float, y: float, text: str, kind: str = "") -> None:
        """Lines of text, centred at x unless ``left``; y is the base of the first."""
        for number, line in enumerate(text.split("\n")):
            self._parts.append(
                f'<text x="{x:g}" y="{y + 16 * number:g}" class="{kind}">{escape(line)}</text>'
            )

    def box(self, x: float, y: float, w: float, h: float, text: str, kind: str = "shared") -> None:
        """A box with centred lines of text."""
        self._parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" rx="5" class="{kind} area"/>'
        )
        lines = text.count("\n") + 1
        self.text(x + w / 2, y + h / 2 + 4.5 - 8 * (lines - 1), text)

    def line(self, *points: tuple[float, float], kind: str = "line", arrow: bool = True) -> None:
        """A line through points, with an arrowhead at the last one."""
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        self._parts.append(f'<polyline points="{path}" class="{kind}"/>')
        if arrow:
            (x0, y0), (x, y) = points[-2:]
            length = ((x - x0) ** 2 + (y - y0) ** 2) ** 0.5
            u, v = 8 * (x - x0) / length, 8 * (y - y0) / length
            corners = ((x, y), (x - u - v / 2, y - v + u / 2), (x - u + v / 2, y - v - u / 2))
            path = " ".join(f"{a:.1f},{b:.1f}" for a, b in corners)
            self._parts.append(f'<polygon points="{path}" class="head"/>')

    def area(self, points: Sequence[tuple[float, float]], kind: str) -> None:
        """A filled area."""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self._parts.append(f'<polygon points="{path}" class="{kind} area"/>')

    def __str__(self) -> str:
        return "\n".join([*self._parts, "</svg>", ""])


def data_flow() -> Drawing:
    """From images to results, galleries and exports."""
    d = Drawing("From images to a run, and from a run to results, galleries and exports", 720, 330)
    d.box(10, 20, 140, 50, "data set with labels\n(or SynVI)")
    d.box(10, 140, 130, 50, "videos, streams")
    d.box(10, 250, 130, 50, "folders of crops,\nmanifest")
    d.box(250, 20, 110, 50, "run folder", "right")
    d.box(250, 140, 110, 50, "ready-made\nmodel", "right")
    d.line((150, 45), (250, 45))
    d.text(200, 38, "train")
    d.line((75, 190), (75, 250))
    d.text(84, 224, "detect", "left")
    d.line((305, 140), (305, 70))
    d.text(312, 100, "adapt,", "left")
    d.text(312, 116, "train --start", "left")
    d.line((360, 45), (560, 45))
    d.text(460, 38, "evaluate")
    d.box(560, 20, 150, 50, "results: scores,\nreport, leaderboard")
    d.line((360, 165), (420, 165), (420, 110), (560, 110))
    d.text(490, 103, "export")
    d.box(560, 88, 150, 44, "ONNX, OpenVINO")
    d.line((420, 165), (560, 165))
    d.text(490, 158, "encode")
    d.box(560, 145, 150, 44, "features (Parquet)")
    d.line((635, 189), (635, 235))
    d.line((360, 58), (420, 58), (420, 165), arrow=False)
    d.line((140, 275), (560, 275))
    d.text(350, 268, "gallery add")
    d.box(560, 235, 150, 75, "gallery:\nsearch, serve,\nverdicts")
    return d


def protocols() -> Drawing:
    """A query, a gallery of the other modality, and what is counted in the ranking."""
    d = Drawing("An infrared query, the visible gallery, and the ranking that is scored", 720, 300)
    d.text(
        2, 20, "gallery of SYSU-MM01, single-shot: one image of each identity per camera", "left"
    )
    for row, camera in enumerate((1, 2, 4, 5)):
        d.text(2, 53 + 28 * row, f"camera {camera}", "left")
        for person in range(6):
            d.box(75 + 38 * person, 36 + 28 * row, 32, 24, "ABCDEF"[person], "visible")
    d.line((72, 76), (310, 76), kind="line dash", arrow=False)
    d.text(318, 80, "left out for queries of camera 3 (same room)", "left")
    d.box(75, 172, 32, 32, "C", "infrared")
    d.text(120, 192, "query of camera 3: searched among the other three cameras", "left")
    d.line((91, 204), (91, 232))
    d.text(10, 254, "ranking", "left")
    for rank, person in enumerate("ACBCDFEACF", 1):
        kind = "right" if person == "C" else "visible"
        d.box(37 + 38 * rank, 236, 32, 26, person, kind)
        d.text(53 + 38 * rank, 280, str(rank))
    d.text(470, 240, "Rank-1: no; Rank-5: yes", "left")
    d.text(470, 258, "AP = (1/2 + 2/4 + 3/9) / 3 = 0.44", "left")
    d.text(470, 276, "INP = 3/9 = 0.33", "left")
    return d


def dlis() -> Drawing:
    """The network of DLIS."""
    d = Drawing("DLIS: two streams, PALM, six stripes, and two losses", 720, 300)
    for y, name, kind in ((40, "visible", "visible"), (190, "infrared", "infrared")):
        d.box(4, y, 70, 84, f"{name}\n288x144", kind)
        d.line((74, y + 42), (98, y + 42))
        d.box(98, y, 100, 84, "ResNet-50\nlast stride 1", kind)
    d.text(142, 160, "a stream each")
    d.line((198, 82), (222, 82), (222, 140), (250, 140))
    d.line((198, 232), (222, 232), (222, 174), (250, 174))
    d.box(250, 110, 110, 94, "PALM\nposition\nattention")
    d.text(305, 226, "2048 x 18 x 9")
    d.line((360, 157), (392, 157))
    for stripe in range(6):
        y = 40 + 39 * stripe
        d.box(392, y, 70, 32, f"stripe {stripe + 1}")
        d.line((462, y + 16), (486, y + 16))
        d.box(486, y, 62, 32, "512")
    d.text(427, 292, "averaged")
    d.text(517, 292, "embedding")
    d.line((548, 100), (580, 100))
    d.line((548, 222), (580, 222))
    d.box(580, 70, 136, 60, "cross-entropy\nfor each stripe", "right")
    d.box(580, 188, 136, 68, "hetero-center loss:\nmeans of both\nmodalities", "right")
    d.text(648, 163, "+ λ ×")
    return d


def open_set() -> Drawing:
    """Scores of two kinds of pairs, two thresholds and three verdicts."""
    d = Drawing("Scores of different people and of one person, and the two thresholds", 720, 270)

    def curve(centre: float, width: float, height: float) -> Iterator[tuple[float, float]]:
        for x in range(20, 701, 5):
            yield x, 200 - height * exp(-(((x - centre) / width) ** 2))

    d.area([(20, 200), *curve(240, 95, 140), (700, 200)], "shared")
    d.area([(20, 200), *curve(420, 110, 105), (700, 200)], "right")
    d.line((20, 200), (705, 200))
    d.text(690, 218, "score")
    d.text(90, 110, "pairs of\ndifferent people")
    d.text(420, 75, "pairs of one person")
    for x in (250, 505):
        d.line((x, 40), (x, 245), kind="line dash", arrow=False)
    d.text(135, 238, "probably not here", "bold")
    d.text(377, 238, "uncertain", "bold")
    d.text(600, 238, "likely match", "bold")
    d.text(230, 30, "5 % of the pairs of one person are below")
    d.text(560, 30, "1 % / n of the other pairs are above")
    d.text(560, 262, "moves to the right as the gallery grows")
    d.text(135, 262, "every hit is here")
    return d


def adaptation() -> Drawing:
    """A round of the adaptation."""
    d = Drawing("A round of adaptation: features, clusters, matches, training", 720, 250)
    d.box(10, 30, 120, 50, "visible images", "visible")
    d.box(10, 120, 120, 50, "infrared images", "infrared")
    d.line((130, 55), (170, 55), (170, 85), (200, 85))
    d.line((130, 145), (170, 145), (170, 115), (200, 115))
    d.box(200, 70, 130, 60, "features of the\naveraged network")
    d.line((330, 85), (350, 85), (350, 55), (370, 55))
    d.line((330, 115), (350, 115), (350, 145), (370, 145))
    d.box(370, 30, 100, 50, "clusters", "visible")
    d.box(370, 120, 100, 50, "clusters", "infrared")
    d.line((470, 55), (495, 55), (495, 85), (520, 85))
    d.line((470, 145), (495, 145), (495, 115), (520, 115))
    d.box(520, 70, 80, 60, "matches,\none to one")
    d.line((600, 100), (622, 100))
    d.box(622, 70, 92, 60, "an epoch of\ntraining", "right")
    d.line((668, 130), (668, 215), (265, 215), (265, 130))
    d.text(460, 208, "next round: labels are drawn anew")
    return d


DRAWINGS = {
    "data-flow": data_flow,
    "protocols": protocols,
    "dlis": dlis,
    "open-set": open_set,
    "adaptation": adaptation,
}

if __name__ == "__main__":
    for name, draw in DRAWINGS.items():
        (Path(__file__).parent / f"images/{name}.svg").write_text(str(draw()), encoding="utf-8")

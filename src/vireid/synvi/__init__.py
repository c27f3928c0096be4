"""SynVI: synthetic people in visible, near-infrared and thermal light, rendered locally.

`render` writes a tree in the published form of SYSU-MM01 or RegDB. Identities are bodies of the
parametric model anny with hair, clothes and bags; each surface has a visible colour and an
independent near-infrared reflectance and thermal emission. The data requires no data-use agreement
and depicts no real person; results on it say nothing about real people.
"""

from vireid.synvi.generate import SynviSummary, render
from vireid.synvi.presets import Preset
from vireid.synvi.sheets import contact_sheet
from vireid.synvi.video import VideoPreset, render_video

__all__ = ["Preset", "SynviSummary", "VideoPreset", "contact_sheet", "render", "render_video"]

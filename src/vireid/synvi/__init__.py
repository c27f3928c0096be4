"""SynVI: synthetic people in visible, near-infrared and thermal light, free of every agreement.

`render` writes a tree in the published form of SYSU-MM01 or RegDB. Identities are bodies of the
parametric model anny with hair, clothes and carried things; each surface has a visible colour and,
independent of it, a near-infrared reflectance and a thermal warmth. Nobody real is depicted, and
numbers measured on it say nothing about real people.
"""

from vireid.synvi.generate import SynviSummary, render
from vireid.synvi.presets import Preset
from vireid.synvi.sheets import contact_sheet

__all__ = ["Preset", "SynviSummary", "contact_sheet", "render"]

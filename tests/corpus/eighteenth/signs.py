"""What follows from most faults of the eighteenth held-out set."""

from __future__ import annotations

STUCK = ("GW101", "GW102", "GW106", "GW108", "GW206", "GW209", "GW311", "GW805")
IDLE = ("GW102", "GW106", "GW108", "GW203", "GW206", "GW209", "GW214", "GW311", "GW805")
BROKEN = ("GW307", "GW444", "GW601", "GW602", "GW603", "GW608")
TORN = ("GW106", "GW205", "GW206", "GW207", "GW208", "GW209", "GW307", "GW308", "GW311", "GW452", "GW608", "GW805")
HOT = (*TORN, *BROKEN, "GW102", "GW112", "GW201", "GW309", "GW310", "GW423", "GW801", "GW952")
SCALE = (*HOT, "GW109", "GW214", "GW411", "GW412")

"""What follows from most faults of the fourteenth held-out set."""

STUCK = ("GW206", "GW209", "GW102", "GW311", "GW805", "GW108", "GW101", "GW106")
BLOWN = ("GW601", "GW602", "GW603", "GW608", "GW307", "GW310", "GW205", "GW208", "GW423", "GW444")

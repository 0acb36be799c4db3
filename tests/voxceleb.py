"""Three people and the forms in which VoxCeleb, VGGFace and the lists write their clips."""

PEOPLE = ["CCH_Pounder", "A.J._Buckley", "Aamir_Khan"]
META = "VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\n" + "".join(
    f"id1000{number}\t{name}\tf\tUK\n" for number, name in enumerate(PEOPLE)
)
VIDEO = "JX--pONDb_Y"  # dashes and an underscore, as YouTube has them
FRAMES = [f"{name}/1.6/{VIDEO}/0000025.jpg" for name in PEOPLE]
VOICES = [f"id1000{number}/{VIDEO}/00001.wav" for number in range(3)]
PINS_FACES = [f"{name}/{VIDEO}/0000025.jpg" for name in PEOPLE]
PINS_VOICES = [f"{name}/{VIDEO}_0000001.wav" for name in PEOPLE]
STILLS = [f"{name}/00000025.jpg" for name in PEOPLE]

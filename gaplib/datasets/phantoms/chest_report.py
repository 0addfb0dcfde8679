"""Compose the report of a generated chest radiograph (see `gaplib.datasets.phantoms.cxr`). Never for clinical use.

What a report says of the five findings is drawn apart from how well they show: told, hedged, left out or
denied when present; denied, left out, hedged or carried over from an old study when absent. Other facts
are told or left out, never invented.
"""

SIDES = {-1: "right", 1: "left"}
ZONES = ("upper", "mid", "lower")
# how a report treats a finding: (told, hedged, omitted, denied)
PRESENT = (0.62, 0.12, 0.15, 0.11)
ABSENT = (0.04, 0.06, 0.42, 0.48)

DENIALS = {
    "effusion": (
        "no pleural effusion",
        "no effusion is seen",
        "costophrenic angles are clear",
        "no pleural fluid",
    ),
    "atelectasis": ("no atelectasis", "no volume loss", "the lung bases are clear"),
    "consolidation": ("no focal consolidation", "no consolidation", "no pneumonia", "no airspace opacity"),
    "edema": ("no pulmonary edema", "no vascular congestion", "normal vasculature", "no overt edema"),
    "heart": ("the heart is normal in size", "heart size is normal", "normal heart", "no cardiomegaly"),
}
TOLD = {
    "effusion": ("{size} {side} pleural effusion", "{size} {side} effusion", "{side} effusion, {size}"),
    "plate": (
        "{side} basilar atelectasis",
        "linear atelectasis, {side} base",
        "{side} plate like atelectasis",
    ),
    "lobar": ("{side} lower lobe collapse", "{side} lower lobe atelectasis with volume loss"),
    "consolidation": (
        "{side} {zone} lung consolidation",
        "focal consolidation in the {side} {zone} zone, concerning for pneumonia",
        "airspace opacity in the {side} {zone} lung, likely pneumonia",
    ),
    "edema": ("{grade} pulmonary edema", "{grade} interstitial edema", "{grade} congestion and edema"),
    "heart": ("{grade} cardiomegaly", "the heart is {grade}ly enlarged", "{grade} enlargement of the heart"),
}
HEDGES = {
    "effusion": (
        "possible small {side} effusion",
        "a trace {side} effusion is not excluded",
        "{side} angle is hazy",
    ),
    "atelectasis": (
        "{side} basilar opacity may represent atelectasis or early consolidation",
        "{side} basilar opacity, likely atelectasis",
        "bibasilar opacities may be atelectasis or aspiration",
    ),
    "consolidation": (
        "{side} {zone} opacity may represent pneumonia or atelectasis",
        "early consolidation in the {side} {zone} lung is not excluded",
    ),
    "edema": ("possible mild edema", "prominent vessels, may be mild congestion", "borderline congestion"),
    "heart": (
        "heart size at the upper limit of normal",
        "borderline heart size",
        "the heart may be enlarged",
    ),
}
CARRIED = ("unchanged {}", "{}, similar to prior", "{} as before", "persistent {}")
DEVICES = {
    "pacemaker": ("{side} chest wall pacemaker", "{side} sided pacemaker with lead in the right ventricle"),
    "port": ("{side} chest port with tip in the svc", "{side} port catheter"),
    "wires": ("median sternotomy wires are intact", "status post sternotomy", "sternal wires are present"),
    "rods": ("spinal fusion hardware", "spinal rods are present"),
    "shoulder": ("{side} shoulder prosthesis", "status post {side} shoulder replacement"),
    "line": ("{side} jugular central line ends in the svc", "{side} jugular catheter tip in the svc"),
    "picc": ("{side} picc tip in the svc", "{side} arm picc"),
    "tube": ("endotracheal tube above the carina", "et tube in standard position"),
    "feeding": ("enteric tube ends in the stomach", "nasogastric tube tip in the stomach"),
    "drain": ("{side} chest tube in place", "{side} pleural drain"),
    "leads": ("monitor leads overlie the chest", "telemetry leads"),
}
CLEAR = (
    "no acute cardiopulmonary process",
    "no acute cardiopulmonary abnormality",
    "normal chest",
    "no acute disease",
    "no acute intrathoracic process",
)
REASONS = ("shortness of breath", "cough", "fever", "chest pain", "hypoxia", "weakness", "recent surgery")
VIEWS = {"AP": ("Portable AP view.", "AP portable chest."), "PA": ("PA view.", "Upright PA chest.")}


def write(facts, previous, rng):
    """Report text of one study; `previous` holds the facts of the study before, or None."""
    told, denied = _findings(facts, previous, rng)
    asides = _devices(facts, rng) + _anatomy(facts, rng)
    for part in (told, denied, asides):
        rng.shuffle(part)
    lead = _lead(facts, previous, rng)
    style = rng.random()
    clear = [_one(CLEAR, rng)] if not told and rng.random() < 0.75 else []
    if style < 0.2:
        return _text(lead, "IMPRESSION:", clear + told + asides + denied[:2])
    blocks = [asides, told, _merge(denied, rng)]
    rng.shuffle(blocks)
    body = [sentence for block in blocks for sentence in block]
    if style < 0.4:
        return _text(lead, "FINDINGS:", body + clear)
    return _text(lead, "FINDINGS:", body) + " " + _text([], "IMPRESSION:", (told[:2] or clear))


def _one(options, rng):
    """One of the options."""
    return options[int(rng.integers(len(options)))]


def _text(lead, heading, sentences):
    """Sentences with capitals and full stops, under a heading."""
    return " ".join(lead + [heading] + [s[:1].upper() + s[1:] + "." for s in sentences or ["see above"]])


def _merge(denied, rng):
    """Two denials that begin with no, said in one breath."""
    short = [s for s in denied if s.startswith("no ")]
    if len(short) < 2 or rng.random() < 0.5:
        return denied
    return [s for s in denied if s not in short[:2]] + [f"{short[0]} or {short[1][3:]}"]


def _grade(severity):
    """Word for a severity in (0, 1)."""
    return "mild" if severity < 0.34 else "moderate" if severity < 0.67 else "severe"


def _both(sides):
    """Word for one or two sides."""
    return "bilateral" if len(sides) == 2 else SIDES[next(iter(sides))]


def _slots(facts, rng):
    """Per finding: is it present, and the words that tell of it; an absent one gets the words of chance."""
    any_side = SIDES[1 if rng.random() < 0.5 else -1]
    words = {"side": any_side, "zone": _one(ZONES, rng), "size": "small", "grade": "mild", "kind": "plate"}
    slots = dict.fromkeys(HEDGES, (False, words))
    if facts["effusion"]:
        size = max(facts["effusion"].values())
        size = "trace" if size < 0.12 else "small" if size < 0.35 else "moderate" if size < 0.65 else "large"
        slots["effusion"] = (True, words | {"size": size, "side": _both(facts["effusion"])})
    if finding := facts["atelectasis"]:
        slots["atelectasis"] = (True, words | {"kind": finding["kind"], "side": _both(finding["sides"])})
    if finding := facts["consolidation"]:
        place = {"side": SIDES[finding["side"]], "zone": ZONES[finding["zone"]]}
        slots["consolidation"] = (True, words | place)
    if facts["edema"]:
        slots["edema"] = (True, words | {"grade": _grade(facts["edema"])})
    if facts["ctr"] > 0.55:
        slots["heart"] = (True, words | {"grade": _grade((facts["ctr"] - 0.55) / 0.12)})
    return slots


def _findings(facts, previous, rng):
    """What is said of the five findings: sentences that tell, sentences that deny."""
    told, denied = [], []
    for name, (present, words) in _slots(facts, rng).items():
        stays = previous is not None and name != "heart" and bool(previous[name])
        told_share, hedged, omitted, _ = PRESENT if present else ABSENT
        chance = rng.random() - (0.12 if stays and not present else 0.0)
        if chance < told_share:
            sentence = _one(TOLD[words["kind"] if name == "atelectasis" else name], rng).format(**words)
            old = stays and not sentence.startswith("the") and rng.random() < 0.6
            told.append(_one(CARRIED, rng).format(sentence) if old else sentence)
        elif chance < told_share + hedged:
            told.append(_one(HEDGES[name], rng).format(**words))
        elif chance > told_share + hedged + omitted:
            denied.append(_one(DENIALS[name], rng))
    return told, denied


def _devices(facts, rng):
    """Devices are nearly always told, as in real reports, with their side."""
    told = {name: side for name, side in facts["devices"].items() if rng.random() < 0.97}
    return [_one(DEVICES[name], rng).format(side=SIDES[side]) for name, side in told.items()]


def _anatomy(facts, rng):
    """What else the picture shows of lungs, posture and old disease, mostly told."""
    return [_one(options, rng) for options in _posture(facts) + _old_disease(facts) if rng.random() < 0.92]


def _posture(facts):
    """Wordings for lung volumes, rotation and habitus."""
    says = []
    if facts["inspiration"] < -0.4:
        says.append(("low lung volumes", "lung volumes are low", "poor inspiration"))
    elif facts["hyperinflation"]:
        says.append(("hyperinflated lungs", "hyperinflation with flat diaphragms, likely emphysema"))
    elif facts["inspiration"] > 0.5:
        says.append(("the lungs are well expanded", "good inspiration"))
    if abs(facts["rotation"]) > 0.7:
        side = _toward(facts["rotation"])
        says.append((f"the patient is rotated to the {side}", f"rotated to the {side}"))
    if facts["habitus"] == "obese":
        says.append(("obese habitus limits the study", "large body habitus"))
    elif facts["habitus"] == "thin":
        says.append(("thin patient", "thin habitus"))
    return says


def _old_disease(facts):
    """Wordings for skeleton, aorta, granuloma, pleural scar, diaphragm."""
    says = []
    if abs(facts["scoliosis"]) > 0.4:
        side = _toward(facts["scoliosis"])
        says.append((f"{side} convex scoliosis", f"scoliosis of the spine, convex {side}"))
    if facts["tortuous"]:
        says.append(("tortuous aorta", "the aorta is tortuous and unfolded"))
    if facts["nodule"]:
        place = f"{SIDES[facts['nodule'][0]]} {ZONES[facts['nodule'][1]]}"
        says.append((f"calcified granuloma in the {place} lung", f"{place} zone nodule, calcified"))
    if side := SIDES.get(facts["fracture"]):
        says.append((f"{side} rib fractures", f"healed {side} rib fractures"))
    if side := SIDES.get(facts["scar"]):
        says.append((f"blunting of the {side} angle, likely scarring", f"{side} pleural thickening"))
    if side := SIDES.get(facts["elevated"]):
        says.append((f"elevated {side} hemidiaphragm", f"{side} hemidiaphragm is high"))
    if facts["hernia"]:
        says.append(("hiatal hernia", "hiatal hernia behind the heart"))
    return says


def _toward(amount):
    """Side of a signed amount."""
    return SIDES[1 if amount > 0 else -1]


def _lead(facts, previous, rng):
    """Indication and view, mostly, and comparison, sometimes."""
    lead = []
    if rng.random() < 0.9:
        who = f"{facts['age']} year old {facts['sex']}" if rng.random() < 0.75 else facts["sex"].capitalize()
        lead.append(f"INDICATION: {who} with {_one(REASONS, rng)}.")
    if rng.random() < 0.95:
        lead.append(_one(VIEWS[facts["view"]], rng))
    if rng.random() < 0.35:
        lead.append("COMPARISON: prior study." if previous else "COMPARISON: none.")
    return lead

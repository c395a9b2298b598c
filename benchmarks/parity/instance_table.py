"""The second table of `make parity`: what is said of each detection besides its box, a row for each model and head."""

LOGITS, SCORES, SHARE = 1e-4, 1e-4, 0.99
HEADINGS = ("model", "of each detection", "logits", "scores", "in the reference's boxes", "end to end")
NOTE = """\
Logits and scores of keypoints: |a - b| / (|b| + mean |b|), bound 1e-4, given the reference's detections. Then the \
share of the instances that are the same: masks in the picture that overlap by 0.999 or more (of a cascade, whose \
boxes come of three heads in a row, by 0.99), keypoints in it that are within 0.05 px, all of the instance; behind the \
share, the worst of the same. The bound is 99 %, and each of the rest must be explained by a reason that masks.py or \
keypoints.py checks: near ties (of all pixels that one mask alone has, probabilities within 1e-3 of a half, in our \
box or in the reference's; in the heat map, the reference's pixel less than 1e-3 below the highest; how far at most), \
truncation (the boxes of the two sides differ by 0.05 px at most, and a whole pixel lies between), and of a cascade \
boxes (they differ by 0.01 px at most, and our mask in the reference's is its mask). In the reference's boxes: our \
heads on its detections. End to end: our own \
detections, those that the reference has, too."""


def results(result):
    """`[(cells, whether each is inside)]`, a row for each head of a model; see `instances.summary`."""
    return [_row(result["model"], name, found) for name, found in result.get("heads", {}).items()]


def bounds():
    share = f"{100 * SHARE:.0f} %, rest explained"
    return ["bound", "", f"{LOGITS:.1e}", f"{SCORES:.1e}", share, share]


def _row(model, name, found):
    cells = [(model, True), (name, True), _difference(found["logits"], LOGITS), _difference(found["scores"], SCORES)]
    return [*cells, *(_agreement(found[step], found["unit"]) for step in ("given", "found"))]


def _difference(value, bound):
    return ("", True) if value is None else (f"{value:.1e}", value <= bound)


def _agreement(found, unit):
    worst = f"{1 - found['difference']:.5f} IoU" if unit == "IoU" else f"{found['difference']:.4f} {unit}"
    notes = [f"{count} {reason}" for reason, count in sorted(found["reasons"].items())]
    if found["gap"]:
        notes.append(f"ties to {found['gap']:.1e}")
    if found["unexplained"]:
        notes.append(f"{found['unexplained']} unexplained")
    text = f"{100 * found['share']:.2f} % of {found['total']}, {worst}" + (f" ({', '.join(notes)})" if notes else "")
    return text, not found["unexplained"] and found["share"] >= SHARE

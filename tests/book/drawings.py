"""Whether two SVGs show the same drawing: rounding may differ, a colour, a letter or a place may not."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
from PIL import Image

TOLERANCE = 0.5  # points
SHADES = 0.01  # mean difference of the colours, in [0, 1], of a picture inside the drawing
# Names that matplotlib makes from what they name, rounding included; a letter's name says which it is, and stays.
NAME = re.compile(r'(?<= id=")(?!DejaVu)[^"]*|(?<=url\(#)[^)]*|(?<=href="#)(?!DejaVu)[^"]*')
PICTURE = re.compile(r'(?<=base64,)[^"]*')
PLACES = re.compile(r'( (?:d|x|y|width|height|viewBox)="[^"]*"|(?:translate|matrix|rotate)\([^)]*\))')
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")


def difference(one: str, other: str) -> str:
    """What differs first, in a few words; empty where both show the same drawing."""
    one, other = NAME.sub("", one), NAME.sub("", other)
    for left, right in zip(PICTURE.findall(one), PICTURE.findall(other), strict=False):
        a, b = colours(left), colours(right)
        if a.shape != b.shape or float(np.abs(a - b).mean()) > SHADES:
            return "a picture inside the drawing"
    pieces = PLACES.split(PICTURE.sub("", one)), PLACES.split(PICTURE.sub("", other))
    if len(pieces[0]) != len(pieces[1]):
        return f"{len(pieces[0]) // 2} places against {len(pieces[1]) // 2}"
    for left, right in zip(*pieces, strict=True):
        if left == right:
            continue
        if not PLACES.fullmatch(left) or NUMBER.sub("", left) != NUMBER.sub("", right):
            return f"{left[:200]!r} against {right[:200]!r}"
        numbers = zip(NUMBER.findall(left), NUMBER.findall(right), strict=True)
        if any(abs(float(a) - float(b)) > TOLERANCE for a, b in numbers):
            return f"{left[:200]!r} against {right[:200]!r}"
    return ""


def colours(base64_png: str) -> np.ndarray:
    """(height, width, 4) in [0, 1]."""
    with Image.open(io.BytesIO(base64.b64decode(base64_png))) as picture:
        return np.asarray(picture.convert("RGBA"), dtype=float) / 255

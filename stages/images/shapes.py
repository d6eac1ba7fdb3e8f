"""The built-in data set: small scenes of textured objects on textured backgrounds, drawn from a seed, with exact masks.

Hue and texture hint at an object's class but do not settle it: each follows the class for a share of the objects and is
any for the others. Only the form tells the class for certain.
"""

import functools
import hashlib
import io
from collections.abc import Collection
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from stages.images.dataset import Annotations, PointFiles, make_annotations, selected_classes
from stages.images.objects import FORMS, TEXTURES, colour_of, form_mask, paint, texture
from stages.images.settings import ChosenImages, ShapesSettings

PLACES_TRIED = 40  # for an object, before it is left out of a crowded scene
HUE_SPREAD = 0.08  # of the colour circle, about a class's own hue: a third of the way to the next class's
SCENES_KEPT = 64  # drawn scenes kept in memory: each is asked for three times in a row


@dataclass(frozen=True)
class Scene:
    """A drawn scene: rgb (H, W, 3) uint8, visible masks (N, H, W) bool, forms (N,) as index into FORMS."""

    rgb: np.ndarray
    masks: np.ndarray
    forms: list[int]


class Shapes:
    """One split of the built-in data set. Category ids are 1 to 4 in the order of FORMS."""

    def __init__(self, settings: ChosenImages, split: str) -> None:
        """Take the settings; nothing is drawn yet."""
        assert isinstance(settings.block, ShapesSettings)
        self._block = settings.block
        self._split = split
        self.root = ""
        self.classes = selected_classes(settings.classes, FORMS, "shapes")
        self.category_ids = [FORMS.index(name) + 1 for name in self.classes]
        self._index = {FORMS.index(name): i for i, name in enumerate(self.classes)}
        self._forms = sorted(FORMS.index(name) for name in self._block.forms or self.classes)
        undrawn = [name for name in self.classes if FORMS.index(name) not in self._forms]
        if undrawn:
            raise ValueError(
                f"images.shapes.forms draws no {', '.join(undrawn)}, but the classes are {', '.join(self.classes)}; add"
                f" to the forms what is missing, or name fewer in images.classes"
            )
        self.images = [f"{split}_{number:05d}" for number in range(settings.split(split))]
        self.points: PointFiles | None = None
        self._scene = functools.lru_cache(maxsize=SCENES_KEPT)(self._draw)

    def _draw(self, image: str) -> Scene:
        number = int(image.rsplit("_", 1)[1])
        return draw_scene(self._block, self._forms, generator_of(self._block.seed, self._split, number))

    def path(self, image: str) -> str:
        """Empty: the images are embedded."""
        return ""

    def embedded(self, image: str) -> bytes:
        """The scene as PNG."""
        buffer = io.BytesIO()
        Image.fromarray(self._scene(image).rgb).save(buffer, format="PNG")
        return buffer.getvalue()

    def tags(self, image: str) -> Collection[int]:
        """Classes of the objects in the scene."""
        return {self._index[form] for form in self._scene(image).forms if form in self._index}

    def ground_truth(self, image: str, height: int, width: int) -> Annotations | None:
        """The visible part of each object of a class, from back to front; an object's id is its place in the scene."""
        scene = self._scene(image)
        ids = [i for i, form in enumerate(scene.forms, start=1) if form in self._index]
        masks, classes = [scene.masks[i - 1] for i in ids], [self._index[scene.forms[i - 1]] for i in ids]
        return make_annotations(masks, classes, ids, shape=(height, width))


def generator_of(seed: int, split: str, number: int) -> np.random.Generator:
    """Randomness of one scene: depends on nothing but the three arguments."""
    name = int.from_bytes(hashlib.sha256(split.encode()).digest()[:8], "big")
    return np.random.default_rng([seed, name, number])


def draw_scene(settings: ShapesSettings, forms: list[int], generator: np.random.Generator) -> Scene:
    """A scene with objects of some of `forms` (indices into FORMS)."""
    most = min(settings.max_classes, len(forms))
    present = generator.choice(forms, size=generator.integers(1, most + 1), replace=False)
    wanted = generator.choice(present, size=generator.integers(settings.min_objects, settings.max_objects + 1))
    canvas = _background(settings, generator)
    # The number of the frontmost object at each pixel, 0 for background.
    front = np.zeros((settings.height, settings.width), np.int32)
    areas: list[int] = []
    drawn: list[int] = []
    for form in wanted.tolist():
        mask = _placed(settings, form, front, areas, generator)
        if mask is None:
            continue
        drawn.append(form)
        areas.append(int(mask.sum()))
        front[mask] = len(drawn)
        _paint_object(canvas, mask, settings, form, generator)
    masks = front == np.arange(1, len(drawn) + 1)[:, None, None]
    return Scene(_photographed(canvas, settings.noise, generator), masks, drawn)


def _placed(
    settings: ShapesSettings, form: int, front: np.ndarray, areas: list[int], generator: np.random.Generator
) -> np.ndarray | None:
    """Mask of an object at a place where it covers no other object too much; None where no place was found.

    `front` (H, W) holds the number of the frontmost object, `areas` each object's area before others covered it.
    """
    height, width = front.shape
    for _ in range(PLACES_TRIED):
        radius = generator.uniform(settings.min_radius, settings.max_radius)
        # A disc's distance from the border: a tip of a triangle or star may be cut, more is not.
        center = generator.uniform(radius, height - radius), generator.uniform(radius, width - radius)
        turn = generator.uniform(0, 2 * np.pi)
        mask = form_mask(FORMS[form], center, radius, turn, height=height, width=width)
        visible = np.bincount(front[~mask], minlength=len(areas) + 1)[1:]
        if np.all(visible >= settings.min_visible * np.array(areas)):
            return mask
    return None


def _background(settings: ShapesSettings, generator: np.random.Generator) -> np.ndarray:
    """A background of a dull, slowly varying colour in any texture: (H, W, 3) float32."""
    height, width = settings.height, settings.width
    colour = colour_of(generator.uniform(), generator.uniform(0, 0.25), generator.uniform(0.35, 0.85))
    coarse = generator.normal(1, 0.12, (4, 5)).astype(np.float32)
    slow = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    pattern = texture(generator.integers(len(TEXTURES)), height, width, generator)
    return paint(colour, pattern, settings.background_contrast) * slow[..., None]


def _paint_object(
    canvas: np.ndarray, mask: np.ndarray, settings: ShapesSettings, form: int, generator: np.random.Generator
) -> None:
    """Paint the pixels of `mask` on `canvas` (H, W, 3) in the colour and texture of one object."""
    own_hue = form / len(FORMS) + generator.uniform(-HUE_SPREAD, HUE_SPREAD)
    hue = own_hue if generator.uniform() < settings.colour_hint else generator.uniform()
    any_kind = generator.integers(len(TEXTURES))
    kind = form if generator.uniform() < settings.texture_hint else any_kind
    colour = colour_of(hue, generator.uniform(0.5, 0.95), generator.uniform(0.55, 1.0))
    box = tuple(slice(hit[0], hit[-1] + 1) for hit in (np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))))
    inside = mask[box]
    pattern = texture(kind, *inside.shape, generator)
    canvas[box][inside] = paint(colour, pattern, settings.object_contrast)[inside]


def _photographed(canvas: np.ndarray, noise: float, generator: np.random.Generator) -> np.ndarray:
    """The canvas under light from one side and with noise, uint8."""
    height, width, _ = canvas.shape
    slope = generator.uniform(-0.15, 0.15, 2)
    light = 1 + slope[0] * np.linspace(-1, 1, height)[:, None] + slope[1] * np.linspace(-1, 1, width)
    lit = canvas * light[..., None] + generator.normal(0, noise, canvas.shape)
    return np.clip(np.rint(lit), 0, 255).astype(np.uint8)

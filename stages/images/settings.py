"""Settings of the data set: which images, which classes, and how each kind of data set is laid out."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from stages.core.config.section import Entries, Section

Kind = Literal["shapes", "voc", "coco", "folder"]
Form = Literal["disc", "square", "triangle", "star"]
TagsFormat = Literal["auto", "table", "json", "list", "class_folders", "label_studio", "cvat", "coco", "voc", "yolo"]
Untagged = Literal["negative", "unknown"]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
FilePath = Annotated[str, Field(min_length=1)]
TILES = ".tiles"  # behind the name of a split: that of the tiles of its images


class ShapesSettings(Section):
    """The built-in data set: scenes of textured objects, drawn from a seed."""

    splits: Entries[Name, Annotated[int, Field(ge=1)]] = Field(min_length=1, description="images; number in each split")
    seed: int = Field(ge=0, description="seed of all scenes; image i of a split depends on seed, split and i alone")
    height: int = Field(ge=32, description="pixels; height of an image")
    width: int = Field(ge=32, description="pixels; width of an image")
    forms: list[Form] | None = Field(
        min_length=1,
        description="forms that are drawn, of disc, square, triangle, star; those that are no class are part of the "
        "scene; null: the classes",
    )
    min_objects: int = Field(ge=0, description="fewest objects per scene; 0: some scenes are empty")
    max_objects: int = Field(ge=1, description="most objects per scene")
    max_classes: int = Field(ge=1, le=4, description="most classes per scene, of disc, square, triangle, star")
    min_radius: float = Field(ge=4, description="pixels; radius of a disc of the smallest object's area")
    max_radius: float = Field(ge=4, description="pixels; radius of a disc of the largest object's area")
    min_visible: float = Field(gt=0, le=1, description="share of an object that others leave uncovered at least")
    colour_hint: float = Field(
        ge=0, lt=1, description="share of objects that have their class's hue; the others have any"
    )
    texture_hint: float = Field(
        ge=0, lt=1, description="share of objects that have their class's texture; the others have any"
    )
    object_contrast: float = Field(
        ge=0, le=1, description="contrast of an object's texture, as a share of its brightness"
    )
    background_contrast: float = Field(
        ge=0, le=1, description="contrast of the background's texture, as a share of its brightness"
    )
    noise: float = Field(ge=0, description="grey levels; standard deviation of the noise")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.forms is not None and len(set(self.forms)) < len(self.forms):
            raise ValueError(f"forms is {self.forms}; name each form once")
        if self.min_objects > self.max_objects:
            raise ValueError(f"min_objects {self.min_objects} is above max_objects {self.max_objects}")
        if self.min_radius > self.max_radius:
            raise ValueError(f"min_radius {self.min_radius} is above max_radius {self.max_radius}")
        room = min(self.height, self.width) / 4
        if self.max_radius > room:
            raise ValueError(
                f"max_radius {self.max_radius} does not fit a scene of {self.height}x{self.width} pixels; "
                f"set it to {room} or less"
            )
        return self


class VocSettings(Section):
    """PASCAL VOC, 2007 to 2012, in its VOCdevkit layout."""

    root: FilePath | None = Field(description="folder VOCdevkit, or VOC2012 in it, such as ${TAGMASK_DATA}/VOCdevkit")
    splits: Entries[Name, FilePath] = Field(
        min_length=1, description="list of each split; train_aug: the 10,582 images of VOC train and SBD (needs sbd)"
    )
    image_sets: Literal["Segmentation", "Main"] = Field(
        description="folder of ImageSets that holds the lists: Segmentation or Main"
    )
    sbd: FilePath | None = Field(
        description="folder of the Semantic Boundaries Dataset (cls, inst, train.txt, val.txt); null: none"
    )
    difficult_tags: bool = Field(description="whether an object marked difficult tags its image (PRM: true)")
    points: FilePath | None = Field(
        description="folder of <image>.txt, lines 'x y class conf'; null: centers of masks (BESTIE: Center_points)"
    )

    def needs(self) -> str | None:
        """The key that must be set before this block can be used."""
        return "root" if self.root is None else None


class TilingSettings(Section):
    """How large images are cut into tiles: `<split>.tiles` is the split of the tiles of `<split>`."""

    size: int | None = Field(ge=32, description="pixels; side of a tile; null: images are not cut")
    overlap: int = Field(
        ge=0, description="pixels; what neighbouring tiles share; objects that are smaller are seen whole"
    )
    min_share: float = Field(
        gt=0,
        le=1,
        description="least share of an annotated object's pixels in a tile for it to be tagged with its class",
    )

    @model_validator(mode="after")
    def _advances(self) -> Self:
        if self.size is not None and self.overlap >= self.size:
            raise ValueError(f"overlap {self.overlap} is not below size {self.size}; tiles must differ from each other")
        return self


# What listing whole images has in place of a tiling, so that a change of one does not rerun it.
UNCUT = TilingSettings(size=None, overlap=0, min_share=1.0)


class CocoSplit(Section):
    """Files of one split, relative to the data set's root."""

    images: FilePath = Field(description="folder that the JSON's file names are relative to")
    annotations: FilePath = Field(description="instances JSON in COCO's format")


class CocoSettings(Section):
    """COCO, or any data set in its JSON format."""

    root: FilePath | None = Field(
        description="folder that the paths of the splits are relative to, such as ${TAGMASK_DATA}/coco"
    )
    splits: Entries[Name, CocoSplit] = Field(
        min_length=1, description="files of each split; the categories of the training split are the classes of all"
    )
    crowd_tags: bool = Field(description="whether a crowd annotation tags its image (CIM: true)")
    tiling: TilingSettings

    def needs(self) -> str | None:
        """The key that must be set before this block can be used."""
        return "root" if self.root is None else None


class FolderSplit(Section):
    """Files of one split of the user's own images."""

    images: FilePath | None = Field(description="folder of images, searched with its subfolders")
    tags: FilePath | None = Field(
        description="file or folder of tags in the form that tags_format says; null: all images of the folder, untagged"
    )
    masks: FilePath | None = Field(description="folder of PNG maps with instances.csv, or COCO JSON; null: none")
    points: FilePath | None = Field(description="folder of <image>.txt, lines 'x y class conf'; null: centers of masks")


class FolderSettings(Section):
    """The user's own images and tags."""

    splits: Entries[Name, FolderSplit] = Field(
        min_length=1, description="files of each split: images, tags, masks and points"
    )
    tags_format: TagsFormat = Field(
        description="form of tags; auto: told from the content; else table (CSV), json, list (names, one class), "
        "class_folders (tags: the folder of images), label_studio, cvat, coco, voc, yolo"
    )
    negative_folders: list[Name] = Field(description="class folders whose images show none of the classes")
    void_id: int | None = Field(ge=1, description="value in the PNG maps that means unlabelled; null: none")
    tiling: TilingSettings

    def needs(self) -> str | None:
        """The key that must be set before this block can be used."""
        unset = [split for split, files in self.splits.items() if files.images is None]
        return f"splits.{unset[0]}.images" if unset else None


class SampleSettings(Section):
    """Some images of each split in place of all."""

    count: int = Field(ge=1, description="images; at most so many of each split, as many of each class as can be")
    seed: int = Field(ge=0, description="seed of the choice; a larger sample of the same seed holds the smaller one")


Block = ShapesSettings | VocSettings | CocoSettings | FolderSettings


class ChosenImages(Section):
    """What `list_images` reads: the common keys and the block of the chosen kind.

    `reference` is the COCO JSON of the training split, whose categories are the classes of all splits; null: each split
    has its own.
    """

    name: Name
    kind: Kind
    classes: list[str] | None
    untagged: Untagged
    verify: Literal["full", "header"]
    reference: FilePath | None
    sample: SampleSettings | None
    max_pixels: int
    tiling: TilingSettings | None
    block: Block

    def whole(self, name: str) -> str:
        """The split whose images a split of tiles has; another split itself."""
        return name if self.tiling is None else name.removesuffix(TILES)

    def split(self, name: str) -> int | str | CocoSplit | FolderSplit:
        """The block's entry for a split. Raises ValueError for a split that the config does not name."""
        if name not in self.block.splits:
            known = ", ".join(self.block.splits)
            raise ValueError(f"split {name!r} is not in images.{self.kind}.splits, which names {known}; add it there")
        return self.block.splits[name]


class ImagesSettings(Section):
    """The data set. All four blocks stand in config.yaml; only the one that `kind` names is used."""

    name: Name = Field(description="name of the data set; its results stand in results/<name>")
    kind: Kind = Field(description="which of the four blocks below is used: shapes, voc, coco or folder")
    classes: list[Annotated[str, Field(min_length=1)]] | None = Field(
        min_length=1, description="classes to learn, in this order; null: all (folder: they must be listed)"
    )
    untagged: Untagged = Field(
        description="what an image says that is listed or annotated without any of the classes; negative: none of them "
        "is in it; unknown: nothing, it is not trained on (CIM: unknown)"
    )
    verify: Literal["full", "header"] = Field(
        description="full: decode each image once before anything else; header: read its size only"
    )
    sample: SampleSettings | None = Field(description="a sample of each split, chosen by tags; null: all images")
    max_pixels: int = Field(
        ge=1, description="pixels; larger images are refused, as damaged headers and decompression bombs look so"
    )
    shapes: ShapesSettings = Field(description="built in: scenes drawn from a seed, with exact masks")
    voc: VocSettings = Field(description="PASCAL VOC 2007 to 2012")
    coco: CocoSettings = Field(description="COCO, or any data set in its JSON format")
    folder: FolderSettings = Field(description="own images and tags")

    @property
    def splits(self) -> list[str]:
        """Names of the splits of the chosen data set, and of those of their tiles."""
        return [*getattr(self, self.kind).splits, *self.tiled.values()]

    @property
    def tiled(self) -> dict[str, str]:
        """The split of the tiles of each split; none where images are not cut."""
        names = getattr(self, self.kind).splits if self.tiling is not None else ()
        return {name: name + TILES for name in names}

    @property
    def tiling(self) -> TilingSettings | None:
        """How the images of the chosen data set are cut; None: they are not."""
        tiling = getattr(getattr(self, self.kind), "tiling", UNCUT)
        return None if tiling.size is None else tiling

    def chosen(self, split: str | None = None, training: str | None = None) -> ChosenImages:
        """The settings that listing reads; with `split`, without what concerns other splits alone.

        So a change of an unused block, of another split's entry, or of how whole images are cut reruns nothing.
        `training` is the split that gives the classes of a COCO data set.
        """
        block = getattr(self, self.kind)
        gives_classes = self.kind == "coco" and training is not None
        files = self.coco.splits.get(training.removesuffix(TILES)) if gives_classes else None
        if hasattr(block, "tiling"):
            block = block.model_copy(update={"tiling": UNCUT})
        common = {
            key: getattr(self, key) for key in ("name", "kind", "classes", "untagged", "verify", "sample", "max_pixels")
        }
        chosen = ChosenImages(
            **common,
            reference=None if files is None else files.annotations,
            tiling=self.tiling if split in self.tiled.values() else None,
            block=block,
        )
        if split is None:
            return chosen
        whole = chosen.whole(split)
        return chosen.model_copy(update={"block": block.model_copy(update={"splits": {whole: chosen.split(whole)}})})

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if self.classes is not None:
            twice = sorted({name for name in self.classes if self.classes.count(name) > 1})
            if twice:
                raise ValueError(f"classes names {', '.join(twice)} more than once; name each class once")
        if self.kind == "folder" and self.classes is None:
            raise ValueError("classes is null, but kind is folder: list the names of the classes that the tags use")
        block = getattr(self, self.kind)
        missing = None if isinstance(block, ShapesSettings) else block.needs()
        if missing is not None:
            raise ValueError(f"{self.kind}.{missing} is null, but kind is {self.kind}: set it to the path of your data")
        taken = [name for name in self.tiled.values() if name in block.splits]
        if taken:
            raise ValueError(
                f"{self.kind}.splits has {taken[0]!r}, the tiles of {taken[0].removesuffix(TILES)!r}; rename it"
            )
        return self

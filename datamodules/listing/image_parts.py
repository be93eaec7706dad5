"""Find the images of a data set, `train/<class>/<image>` and the same in `test/` or `val/`, in a folder or an archive.

No image is opened. One folder around them all, as many archives have it, is stepped into.
"""

from __future__ import annotations

from pathlib import Path

from datamodules.listing.compressed_tar import MAX_UNPACKED_GIB
from datamodules.listing.image_index import ImageIndex, ImageParts, index_of
from datamodules.listing.places import Entry, Place, join, open_place
from datamodules.listing.rule import IMAGES, is_image, tell_unread

PARTS = ("train", "val", "test")
LAYOUT = "train/<class>/<image> and test/<class>/<image> (or val/)"
MAX_WRAPPERS = 8  # a link to the folder that holds it would have no end


def find_parts(root: Path, takes_validation: bool, in_place: bool, max_gib: float = MAX_UNPACKED_GIB) -> ImageParts:
    """Index the parts below the folder or archive `root`; raise `ValueError` that names what is wrong with them.

    The test part is `test/`, or `val/` where there is no `test/`. With both, `val/` is the validation part, which the
    caller must take (`takes_validation`). With `in_place` the images can be read later, in any order, from the disk;
    otherwise those of an archive that is compressed as a whole, and unpacks to at most `max_gib`, are `unpacked` first.
    """
    place = open_place(root, in_place, max_gib)
    top, entries = _unwrapped(place)
    there = [part for part in PARTS if any(entry.name == part and entry.kind == "folder" for entry in entries)]
    if "train" not in there or len(there) < 2:
        raise ValueError(
            f"{root.absolute()} holds {', '.join(there) or 'neither train nor test'}; expected a folder or an archive "
            f"with {LAYOUT}: set dataset.root (or the environment variable DATA_ROOT) to it"
        )
    if len(there) == 3 and not takes_validation:
        raise ValueError(f"{root} has a validation part, val/; set dataset.validation_share=null to use it")
    tell_unread(place.name(top), [entry.name for entry in entries if entry.name not in there], f"{'/, '.join(there)}/")
    parts = {part: list_classes(place, join(top, part)) for part in there}
    classes = parts["train"][0]
    for part, (names, _) in parts.items():
        if odd := sorted(set(classes) ^ set(names)):
            has, lacks = ("train", part) if odd[0] in classes else (part, "train")
            raise ValueError(
                f"{root}: class '{odd[0]}' is in {has}/ and not in {lacks}/; all parts need the same classes"
            )
    return ImageParts(classes, parts["train"][1], parts[there[-1]][1], parts["val"][1] if len(there) == 3 else None)


def list_classes(place: Place, folder: str = "") -> tuple[tuple[str, ...], ImageIndex]:
    """Return the classes in `folder`, sorted, and the index of their images.

    Raises `ValueError` if there are fewer than two classes, and for an empty class, a link that leads nowhere, an image
    outside a class, and a file inside one that is not named like an image.
    """
    entries = place.entries(folder)
    where = place.name(folder)
    layout = f"{Path(where).name}/<class>/<image>" if not folder else f"{folder}/<class>/<image>"
    refuse_broken(place, folder, entries)
    for entry in entries:
        if entry.kind == "file" and is_image(entry.name, may_lack_ending=False):
            raise ValueError(
                f"{place.name(join(folder, entry.name))} is not in a folder of its class; expected {layout}: move or "
                "delete it"
            )
    classes = tuple(entry.name for entry in entries if entry.kind == "folder")
    if not classes:
        raise ValueError(f"{where}: no folder of images; expected {layout}: set dataset.root")
    if len(classes) < 2:
        raise ValueError(f"{where}: one class, {classes[0]}; expected at least two to tell apart")
    tell_unread(where, [entry.name for entry in entries if entry.kind == "file"], layout)
    images: list[Entry] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        inside = join(folder, name)
        found = list_images(place, inside)
        if not found:
            raise ValueError(f"{place.name(inside)} holds no image; put some there, or delete the class")
        images += found
        labels += [label] * len(found)
    return classes, index_of(place.root, place.is_archive, images, labels, place.is_packed)


def list_images(place: Place, folder: str = "") -> list[Entry]:
    """Return the images in one folder, sorted, each named by its path below the root; raise as `list_classes` does."""
    entries = place.entries(folder)
    refuse_broken(place, folder, entries)
    for entry in entries:
        where = place.name(join(folder, entry.name))
        if entry.kind == "folder":
            raise ValueError(f"{where}: a folder inside a class; move its images up, or delete it")
        if not is_image(entry.name):
            raise ValueError(f"{where}: expected an image ({', '.join(IMAGES)}); move or delete this file")
    return [entry._replace(name=join(folder, entry.name)) for entry in entries]


def refuse_broken(place: Place, folder: str, entries: list[Entry]) -> None:
    """Raise `ValueError` that names the first link which leads nowhere, or special file, among `entries`."""
    for entry in entries:
        if entry.kind == "broken":
            where = place.name(join(folder, entry.name))
            raise ValueError(f"{where}: a link that leads to no file, or a special file; mend or delete it")


def _unwrapped(place: Place) -> tuple[str, list[Entry]]:
    """Return the folder that holds the parts, and its entries: a folder that is alone is stepped into."""
    top, entries = "", place.entries()
    for _ in range(MAX_WRAPPERS):
        if len(entries) != 1 or entries[0].kind != "folder" or entries[0].name in PARTS:
            break
        top = join(top, entries[0].name)
        entries = place.entries(top)
    return top, entries

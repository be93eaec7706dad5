"""Split the clips of UCF11 into training, validation and test part, by one of three protocols.

The clips of a group were cut from one video [Liu09]. So a split by clip tests on scenes of the training part, and its
accuracies are too high; a split by group does not. Published protocols differ, so every row names its own. Group g
belongs to fold (g − 1) mod 5; in the fold before the tested one every other group validates, 3 of 25.

[Liu09] Liu, Luo & Shah, Recognizing realistic actions from videos "in the wild", CVPR 2009.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from datamodules.data import hold_out
from datamodules.video.ucf11_files import Clip

Protocol = Literal["group_split", "clip_split", "five_fold"]
Part = Literal["train", "validation", "test"]

NUM_FOLDS = 5
FOLD_OF_GROUP_SPLIT = 4  # tests groups 5, 10, 15, 20, 25 and validates on 4, 14, 24
SHARE_OF_TEST, SHARE_OF_VALIDATION, SPLIT_SEED = 0.2, 0.1, 0


def parts_of(clips: Sequence[Clip], protocol: Protocol, fold: int | None) -> list[Part]:
    """Return the part of each clip; `fold`, 0 to 4, is given for "five_fold" and None otherwise."""
    if protocol == "clip_split":
        return _by_clip(len(clips))
    tested = FOLD_OF_GROUP_SPLIT if fold is None else fold
    return [part_of_group(clip.group, tested) for clip in clips]


def part_of_group(group: int, tested: int) -> Part:
    """Return the part of `group`, from 1, when `tested`, from 0, is the tested fold."""
    if (group - 1) % NUM_FOLDS == tested:
        return "test"
    return "validation" if (group - 1) % (2 * NUM_FOLDS) == (tested - 1) % NUM_FOLDS else "train"


def describe(clips: Sequence[Clip], parts: Sequence[Part], protocol: Protocol, fold: int | None) -> str:
    """Describe the split in words: how it was made, and what each part holds."""
    how = {
        "group_split": "split by group",
        "clip_split": f"split by clip (random, seed {SPLIT_SEED}), so that parts share scenes",
        "five_fold": f"five folds by group, fold {fold} tested",
    }[protocol]
    held = []
    for part in ("train", "validation", "test"):
        mine = [clip.group for clip, its in zip(clips, parts, strict=True) if its == part]
        groups = f" (groups {', '.join(map(str, sorted(set(mine))))})" if protocol != "clip_split" else ""
        held.append(f"{len(mine)} {part}{groups if part != 'train' else ''}")
    return f"{how}: {', '.join(held)}"


def check_parts(clips: Sequence[Clip], parts: Sequence[Part], classes: set[str]) -> None:
    """Raise `ValueError` for an empty part, or if one of the `classes` has no training clip."""
    counts = Counter(parts)
    for part in ("train", "validation", "test"):
        if not counts[part]:
            groups = ", ".join(map(str, sorted({clip.group for clip in clips})))
            raise ValueError(
                f"UCF11: the {part} part is empty with the groups that are there ({groups}); add clips of others, or "
                "choose another dataset.protocol"
            )
    trained = {clip.class_name for clip, part in zip(clips, parts, strict=True) if part == "train"}
    if untrained := sorted(classes - trained):
        raise ValueError(f"UCF11: the train part has no clip of '{untrained[0]}'; add readable clips of other groups")


def _by_clip(num: int) -> list[Part]:
    rest, test = hold_out(num, round(num * SHARE_OF_TEST), SPLIT_SEED)
    _, validation = hold_out(len(rest), round(len(rest) * SHARE_OF_VALIDATION), SPLIT_SEED)
    parts: list[Part] = ["train"] * num
    for index in test.tolist():
        parts[index] = "test"
    for index in rest[validation].tolist():
        parts[index] = "validation"
    return parts

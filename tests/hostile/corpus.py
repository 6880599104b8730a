"""Malformed COCO files, made on the spot: what is wrong in each, and where the reader must say so.

Every case starts from `good()` and breaks one thing; where it is a record, it is the second one, so that an index
of 0 cannot pass by luck.
"""

from __future__ import annotations

import gzip
import io
import json
import pickle
import zipfile
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
__all__ = ["ANY", "HUGE", "NAMES", "Case", "corpus", "edited", "good", "huge", "text"]

NAMES = [
    *(
        "nose",
        "left_eye",
        "right_eye",
        "left_ear",
        "right_ear",
        "left_shoulder",
        "right_shoulder",
        "left_elbow",
    ),
    *("right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee"),
    *("left_ankle", "right_ankle"),
]
Document = dict[str, Any]
_RAW = "@raw@"
ANY = "*"  # a field or record that the case leaves open


@dataclass(frozen=True)
class Case:
    """One malformed file.

    Attributes:
        name: what is wrong; unique.
        data: the whole file.
        message: part of the message.
        field: what ``DataError.field`` must be, or `ANY`.
        record: what ``DataError.record`` must be, or `ANY`.
        group: of the corpus.
    """

    name: str
    data: bytes
    message: str
    field: str | None = None
    record: int | str | None = None
    group: str = ""


def good() -> Document:
    """Three images, three persons, nothing wrong."""
    rng = np.random.default_rng(0)
    keypoints = [
        [value for x, y in rng.integers(1, 200, (17, 2)).tolist() for value in (x, y, 2)] for _ in range(3)
    ]
    return {
        "info": {"description": "three persons"},
        "licenses": [],
        "images": [
            {"id": i, "file_name": f"{i}.jpg", "width": 640, "height": 480, "license": 1}
            for i in (10, 20, 30)
        ],
        "annotations": [
            {
                "id": i,
                "image_id": 10 * i,
                "category_id": 1,
                "iscrowd": 0,
                "segmentation": [[1.5, 2, 3, 4]],
                "bbox": [1, 2, 3.5, 4],
                "num_keypoints": 17,
                "keypoints": keypoints[i - 1],
            }
            for i in (1, 2, 3)
        ],
        "categories": [{"id": 1, "name": "person", "keypoints": NAMES, "skeleton": [[1, 2], [1, 3]]}],
    }


def text(document: Document, literal: str = "") -> bytes:
    """JSON of a document; where it holds the mark `_RAW`, the literal stands instead, JSON or not."""
    return json.dumps(document).replace(f'"{_RAW}"', literal).encode()


def edited(edit: Callable[[Document], object], literal: str = "") -> bytes:
    """The good document after an edit."""
    document = good()
    edit(document)
    return text(document, literal)


def at(section: str, key: str, literal: str, record: int = 1) -> bytes:
    """The good document with one value of one record replaced by a literal."""
    return edited(lambda d: d[section][record].__setitem__(key, _RAW), literal)


def number(index: int, literal: str) -> bytes:
    """The good document with one number of the second person's keypoints replaced."""
    return edited(lambda d: d["annotations"][1]["keypoints"].__setitem__(index, _RAW), literal)


def corpus() -> list[Case]:
    """All cases, always the same."""
    parts = (_containers, _syntax, _truncated, _top_level, _images, _categories, _annotations, _keypoints)
    return [replace(case, group=part.__name__.strip("_")) for part in parts for case in part()]


def _containers() -> Iterator[Case]:
    whole = text(good())
    yield Case("empty", b"", "the file is empty")
    yield Case("spaces only", b" \n\t ", "cut off")
    yield Case("utf-8 with a BOM", b"\xef\xbb\xbf" + whole, "byte order mark")
    yield Case("utf-16 with a BOM", whole.decode().encode("utf-16"), "UTF-16")
    yield Case("utf-16 little endian", whole.decode().encode("utf-16-le"), "UTF-16")
    yield Case("utf-16 big endian", whole.decode().encode("utf-16-be"), "UTF-16")
    yield Case("utf-32 with a BOM", whole.decode().encode("utf-32"), "UTF-32")
    yield Case("utf-32 big endian", whole.decode().encode("utf-32-be"), "UTF-32")
    yield Case("gzip", gzip.compress(whole, mtime=0), "gzip")
    yield Case("gzip bomb", gzip.compress(b"[" * 20_000_000, mtime=0), "gzip")
    yield Case("zstd", b"\x28\xb5\x2f\xfd" + whole, "zstd")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr(zipfile.ZipInfo("a.json"), whole)  # with a fixed time
    yield Case("zip", archive.getvalue(), "zip")
    yield Case("pickle", pickle.dumps({"images": []}), "not valid JSON")
    yield Case("png", b"\x89PNG\r\n\x1a\n" + bytes(50), "not valid JSON")
    yield Case("zeros", bytes(1000), "zeros")
    yield Case("html", b"<!DOCTYPE html><html><body>404</body></html>", "not valid JSON")
    yield Case(
        "git lfs pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "not valid JSON"
    )
    yield Case("yaml", b"images:\n  - id: 1\n", "not valid JSON")
    yield Case("python", repr(good()).encode(), "not valid JSON")
    yield Case("a second document", whole + whole, "trailing characters")
    yield Case("a bracket too many", whole + b"}", "trailing characters")
    yield Case("a NUL at the end", whole + b"\0", "trailing characters")
    yield Case("a word at the end", whole + b"\nend", "trailing characters")


def _syntax() -> Iterator[Case]:
    literals = (
        *(
            "NaN",
            "-NaN",
            "nan",
            "Infinity",
            "-Infinity",
            "inf",
            "1e400",
            "-1e400",
            "1e99999999999",
            "0x10",
            "01",
        ),
        *("+1", ".5", "1.", "1e", "--1", "1_000", "1,5e", "None", "True", "'1'", "undefined", "", "// 1\n1"),
    )
    for literal in literals:
        yield Case(f"x is {literal!r}", number(3, literal), "(line 1, column", "keypoints", 1)
    for literal in ("NaN", "1e400", "-Infinity"):
        yield Case(f"v is {literal}", number(5, literal), "(line 1, column", "keypoints", 1)
        yield Case(f"id is {literal}", at("annotations", "id", literal), "(line 1, column", "id", 1)
        yield Case(
            f"bbox has {literal}", at("annotations", "bbox", f"[1,{literal},1,1]"), "(line 1", "bbox", 1
        )
    yield Case("score is NaN", at("annotations", "score", "NaN"), "NaN", "score", 1)
    yield Case(
        "segmentation with NaN", at("annotations", "segmentation", "[[1,NaN]]"), "NaN", "segmentation", 1
    )
    yield Case("comma at the end of an array", at("annotations", "bbox", "[1,2,3,4,]"), "trailing", "bbox", 1)
    yield Case("comma at the end of a record", text(good()).replace(b"}, {", b",}, {", 1), "", "images", 0)
    yield Case("no comma between records", text(good()).replace(b"}, {", b"} {", 1), "", "images", 1)
    yield Case("no colon", text(good()).replace(b'"bbox":', b'"bbox"', 1), "expected `:`", "bbox", 0)
    yield Case(
        "key without quotes", text(good()).replace(b'"bbox"', b"bbox", 1), "key must be", "annotations", 0
    )
    yield Case("wrong bracket", at("annotations", "bbox", "[1,2,3,4}"), "not valid JSON", "bbox", 1)
    yield Case("comment", b"// persons\n" + text(good()), "comments")
    yield Case("line break in a string", at("annotations", "action", '"a\nb"'), "control", "action", 1)
    yield Case("half a surrogate pair", at("annotations", "action", '"\\ud800"'), "", "action", 1)
    yield Case("unknown escape", at("annotations", "action", '"\\x41"'), "escape", "action", 1)
    broken = at("annotations", "action", '"@"').replace(b"@", b"\xff\xfe")
    yield Case("label that is not utf-8", broken, "unicode", "action", 1)


def _truncated() -> Iterator[Case]:
    whole = text(good())
    for section in ("images", "annotations"):
        start = whole.index(f'"{section}"'.encode())
        begins = [whole.index(b'{"id"', start)]
        for _ in range(2):
            begins.append(whole.index(b'{"id"', begins[-1] + 1))
        ends = [*begins[1:], whole.index(b"}]", begins[-1])]
        for record, (begin, end) in enumerate(zip(begins, ends, strict=True)):
            for share in range(1, 9):
                cut = begin + (end - begin) * share // 9
                name = f"cut {share}/9 through record {record} of {section}"
                yield Case(name, whole[:cut], "(line 1, column", ANY, record)
    for cut in (1, 2, 10):
        yield Case(f"cut {cut} before the end", whole[:-cut], "cut off", ANY, ANY)
    yield Case("cut after the first byte", whole[:1], "cut off")
    yield Case("no data block of a sparse file", whole[:300] + bytes(300), "", ANY, ANY)


def _top_level() -> Iterator[Case]:
    result = [{"image_id": 10, "category_id": 1, "keypoints": [1, 2, 2] * 17, "score": 0.5}]
    yield Case("list of results", json.dumps(result).encode(), "got an array")
    for literal in ("3", "null", "true", '"images"', "1.5"):
        yield Case(f"top level is {literal}", literal.encode(), "an object with `images`")
    yield Case("empty object", b"{}", "missing", "images")
    for section in ("images", "annotations", "categories"):
        whole = edited(lambda d, section=section: d.pop(section))
        yield Case(f"no {section}", whole, "missing at the top level", section)
        for literal in ("null", '{"1":{}}', '"x"', "7"):
            whole = edited(lambda d, section=section: d.__setitem__(section, _RAW), literal)
            yield Case(f"{section} is {literal}", whole, "an array of objects", section)
        for literal in ("null", "[]", "7", '"x"'):
            whole = edited(lambda d, section=section: d[section].insert(1, _RAW), literal)
            yield Case(f"a record of {section} is {literal}", whole, "an object", section, 1)
        again = json.dumps(good()[section]).encode()
        whole = text(good())[:-1] + f', "{section}": '.encode() + again + b"}"
        yield Case(f"{section} twice", whole, "repeated", section)
    yield Case("info twice", text(good())[:-1] + b', "info": {}}', "repeated", "info")
    many = edited(lambda d: d.update({f"x{i}": 0 for i in range(2000)}))
    yield Case("2000 keys", many, "1000 keys", ANY)
    yield Case("a long key", edited(lambda d: d.update({"k" * 1000: 0})), "256 bytes", ANY)


def _images() -> Iterator[Case]:
    for literal in (
        '"20"',
        "20.0",
        "null",
        "true",
        "[20]",
        "1e3",
        "18446744073709551616",
        "9223372036854775808",
    ):
        yield Case(f"image id is {literal}", at("images", "id", literal), "an integer", "images.id", 1)
    yield Case("image id twice", at("images", "id", "10"), "unique", "images.id", 1)
    yield Case("image without id", edited(lambda d: d["images"][1].pop("id")), "missing", "images.id", 1)
    for side in ("width", "height"):
        for literal in (
            "0",
            "-1",
            '"640"',
            "640.0",
            "640.5",
            "null",
            "1000001",
            "1e10",
            "99999999999999999999",
        ):
            whole = at("images", side, literal)
            yield Case(f"{side} is {literal}", whole, "an integer from 1 to 1000000", f"images.{side}", 1)
        whole = edited(lambda d, side=side: d["images"][1].pop(side))
        yield Case(f"image without {side} only", whole, "missing", f"images.{side}", 1)
    whole = text(good()).replace(b'"id": 20,', b'"id": 20, "id": 21,')
    yield Case("image with two ids", whole, "repeated", "images.id", 1)


def _categories() -> Iterator[Case]:
    for literal in ('"1"', "1.0", "null"):
        yield Case(f"category id is {literal}", at("categories", "id", literal, 0), "", "categories.id", 0)
    whole = edited(lambda d: d["categories"].append({"id": 1, "name": "dog"}))
    yield Case("category id twice", whole, "unique", "categories.id", 1)
    yield Case("category without id", edited(lambda d: d["categories"][0].pop("id")), "", "categories.id", 0)
    for literal, message in (
        *(
            ("null", "array of names"),
            ("17", "array of names"),
            ('"nose"', "array of names"),
            ("{}", "names"),
        ),
        *(
            ('["a",null]', "a name"),
            ('["a",1]', "a name"),
            ('["a","a"]', "unique"),
            ('["a",""]', "not empty"),
        ),
        (json.dumps([f"j{i}" for i in range(1025)]), "more than 1024"),
        (json.dumps(["n" * 1025]), "1024 bytes"),
    ):
        name = f"joint names are {literal:.30}"
        yield Case(name, at("categories", "keypoints", literal, 0), message, "categories.keypoints", 0)
    for literal in ("7", "null", "[]", json.dumps("n" * 2000)):
        name = f"category name is {literal:.30}"
        yield Case(name, at("categories", "name", literal, 0), "a name", "categories.name", 0)
    for literal in ("{}", "null", "[1,2]", "[[1,2,3]]", "[[1]]", '[["a","b"]]', "[[1.5,2]]", "[null]"):
        name = f"bones are {literal}"
        yield Case(name, at("categories", "skeleton", literal, 0), "", "categories.skeleton", 0)
    bones = json.dumps([[1, 2]] * 1025)
    yield Case(
        "1025 bones", at("categories", "skeleton", bones, 0), "more than 1024", "categories.skeleton", 0
    )

    def custom(bones: list[list[int]]) -> bytes:
        names = [f"joint {i}" for i in range(17)]
        return edited(lambda d: d["categories"][0].update(keypoints=names, skeleton=bones))

    for bone in ([0, 1], [1, 18], [1, 1], [-1, 2], [1, 2**62]):
        yield Case(f"bone {bone}", custom([bone]), "bones", "categories.skeleton")
    yield Case("bone twice", custom([[1, 2], [1, 2]]), "unique", "categories.skeleton")
    whole = edited(lambda d: d["categories"][0].pop("keypoints"))
    yield Case("no joint names", whole, "skeleton='coco17'", "categories.keypoints")
    whole = edited(lambda d: d["categories"][0].update(keypoints=[]))
    yield Case("empty joint names", whole, "skeleton='coco17'", "categories.keypoints")

    def second(names: list[str]) -> bytes:
        def edit(document: Document) -> None:
            document["categories"].append({"id": 2, "name": "dog", "keypoints": names})
            document["annotations"][1]["category_id"] = 2

        return edited(edit)

    yield Case("two skeletons in use", second(NAMES[::-1]), "`dog`", "categories")
    yield Case("a skeleton and none in use", second([]), "`dog`", "categories")


def _annotations() -> Iterator[Case]:
    for key in ("id", "image_id", "category_id"):
        whole = edited(lambda d, key=key: d["annotations"][1].pop(key))
        yield Case(f"annotation without {key}", whole, "missing", key, 1)
        for literal in ('"2"', "2.0", "2.5", "null", "false", "[2]", "{}", "1e30", "18446744073709551615"):
            yield Case(f"{key} is {literal}", at("annotations", key, literal), "an integer", key, 1)
    yield Case("annotation id twice", at("annotations", "id", "1"), "unique", "id", 1)
    yield Case("image_id of no image", at("annotations", "image_id", "11"), "11 is none", "image_id", 1)
    yield Case("category_id of none", at("annotations", "category_id", "0"), "0 is none", "category_id", 1)
    for literal in ("-1", "1.5", "17.0", '"17"', "null", "[17]", "1e3", "1e400"):
        yield Case(
            f"num_keypoints is {literal}", at("annotations", "num_keypoints", literal), "", "num_keypoints", 1
        )
    for literal in ("18", "4000000000", "18446744073709551615"):
        whole = at("annotations", "num_keypoints", literal)
        yield Case(f"num_keypoints is {literal}", whole, "at most 17", "num_keypoints", 1)
    for literal in ("2", "-1", '"0"', "null", "0.5", "[]"):
        yield Case(f"iscrowd is {literal}", at("annotations", "iscrowd", literal), "0 or 1", "iscrowd", 1)
    for literal in ("[]", "[1,2,3]", "[1,2,3,4,5]", '"1,2,3,4"', "null", "{}", '[1,2,3,"4"]', "[[1,2,3,4]]"):
        yield Case(f"bbox is {literal}", at("annotations", "bbox", literal), "", "bbox", 1)
    label = json.dumps("x" * 1025)
    yield Case("a long label", at("annotations", "action", label), "1024 bytes", "action", 1)
    for key in ("id", "keypoints", "image_id"):
        value = json.dumps(good()["annotations"][1][key])
        twice = f'{value}, "{key}": {value}'
        yield Case(f"{key} twice", at("annotations", key, twice), "repeated", key, 1)
    bomb = '{"size":[480,640],"counts":' + "[" * 200 + "1" + "]" * 200 + "}"
    yield Case("nested run lengths", at("annotations", "segmentation", bomb), "levels", "segmentation", 1)
    bomb = '{"size":[480,640],"counts":[' + "9" * 5000 + "]}"
    yield Case(
        "a run length of 5000 digits", at("annotations", "segmentation", bomb), "4096", "segmentation", 1
    )


def _keypoints() -> Iterator[Case]:
    person = good()["annotations"][1]["keypoints"]
    for count in (0, 1, 13, 16, 18, 133):
        literal = json.dumps((person * 8)[: 3 * count])
        yield Case(f"{count} triples", at("annotations", "keypoints", literal), "17 x 3 = 51", "keypoints", 1)
    for count in (1, 34, 50, 52, 53):
        literal = json.dumps((person * 2)[:count])
        yield Case(f"{count} numbers", at("annotations", "keypoints", literal), "3 numbers", "keypoints", 1)
    literal = json.dumps([1, 1, 2] * 1025)
    yield Case("1025 triples", at("annotations", "keypoints", literal), "more than 1024", "keypoints", 1)
    for literal in ("null", '"1 2 2"', "{}", "17", "false"):
        yield Case(
            f"keypoints is {literal}", at("annotations", "keypoints", literal), "an array", "keypoints", 1
        )
    nested = json.dumps([person[i : i + 3] for i in range(0, 51, 3)])
    yield Case("nested triples", at("annotations", "keypoints", nested), "a finite number", "keypoints", 1)
    for name, index in (("x", 3), ("y", 4)):
        for literal in ('"12"', "null", "true", "[1]", "{}"):
            yield Case(f"{name} is {literal}", number(index, literal), "a finite number", "keypoints", 1)
        for literal in ("1e30", "-1e30", "1e8", "-10000001", "99999999999999999999"):
            yield Case(f"{name} is {literal}", number(index, literal), "within 10000000", "keypoints", 1)
        for literal in ("1e39", "-1e39", "1e308"):
            yield Case(f"{name} is {literal}", number(index, literal), "", "keypoints", 1)
    for literal in ("-1", "3", "2.5", "null", '"2"', "true", "[2]", "256", "-0.5", "1e2", "4294967298"):
        yield Case(f"v is {literal}", number(5, literal), "a visibility of 0, 1 or 2", "keypoints", 1)
    unlabelled = json.dumps([0, 0, 0] * 16 + ["a", 0, 0])
    whole = at("annotations", "keypoints", unlabelled)
    yield Case("text where nothing is labelled", whole, "a finite number", "keypoints", 1)


def huge(name: str, size: int) -> Iterator[bytes]:
    """Blocks of a file of about `size` bytes that must be refused without holding it.

    Args:
        name: one of `HUGE`.
        size: bytes, in whole blocks.

    Yields:
        The blocks in order.
    """
    prefix, filler, _ = HUGE[name]
    yield prefix
    block = filler * ((1 << 20) // len(filler))
    for _ in range(size // len(block)):
        yield block


_RECORD = text(good())[: text(good()).index(b'"annotations"')] + b'"annotations": [{"id": 1, "image_id": 10, '
_SKIPPED = b'{"segmentation":{"counts":[1,22,333,4444]},"image_id":1},'
# The start of a file, what is repeated after it, and what the message must hold.
HUGE: dict[str, tuple[bytes, bytes, str]] = {
    "brackets": (b"", b"[", "got an array"),
    "braces": (b"", b'{"a":', "levels"),
    "brackets under a key": (b'{"info":', b"[", "levels"),
    "brackets in a segmentation": (_RECORD + b'"segmentation":', b"[", "levels"),
    "brackets in keypoints": (_RECORD + b'"keypoints":', b"[", "a finite number"),
    "numbers in keypoints": (_RECORD + b'"keypoints":[1,1,2', b",1,1,2", "more than 1024"),
    "string": (b'{"info":"', b"a", "bytes of a string"),
    "escapes": (b'{"info":"', b"\\n", "bytes of a string"),
    "key": (b'{"', b"k", "bytes of a string"),
    "label": (_RECORD + b'"action":"', b"a", "bytes of a string"),
    "digits": (b'{"info":', b"1", "bytes of a number"),
    "digits in keypoints": (_RECORD + b'"keypoints":[0.', b"1", "bytes of a number"),
    "zeros": (b"", bytes(16), "zeros"),
    "spaces": (b"{", b" ", "cut off"),
    "names": (b'{"categories":[{"id":1,"keypoints":["a"', b',"b"', "unique"),
    "bones": (b'{"categories":[{"id":1,"skeleton":[[1,2]', b",[1,2]", "more than 1024"),
    "records skipped": (b'{"other":[', _SKIPPED, "cut off"),
    "records without id": (b'{"annotations":[', _SKIPPED, "missing"),
    "images with one id": (b'{"images":[{"id":1}', b',{"id":1}', "unique"),
    "bbox": (_RECORD + b'"bbox":[1', b",1", "4 finite numbers"),
}

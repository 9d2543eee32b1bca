"""Records: the idiom of every floor."""

from __future__ import annotations

import pickle

import pytest

from wherry.record import Record


class Point(Record):
    x: int
    y: int = 0


class Labelled(Point):
    label: str = ""


def test_fields_defaults_and_inheritance() -> None:
    point = Labelled(x=1, label="a")
    assert (point.x, point.y, point.label) == (1, 0, "a")
    assert point.as_dict() == {"x": 1, "y": 0, "label": "a"}
    assert repr(point) == "Labelled(x=1, y=0, label='a')"


def test_equality_is_by_type_and_value() -> None:
    assert Point(x=1) == Point(x=1)
    assert Point(x=1) != Labelled(x=1)
    assert len({Point(x=1), Point(x=1), Point(x=2)}) == 2


def test_frozen_and_slotted() -> None:
    point = Point(x=1)
    with pytest.raises(AttributeError, match="frozen"):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(AttributeError):
        del point.x
    assert not hasattr(point, "__dict__")


@pytest.mark.parametrize(("values", "message"), [({}, "needs the field 'x'"), ({"x": 1, "z": 2}, "has no field 'z'")])
def test_wrong_fields_are_named(values: dict[str, int], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Point(**values)


def test_replace_and_pickle() -> None:
    point = Labelled(x=1).replace(y=5)
    assert point == Labelled(x=1, y=5)
    assert pickle.loads(pickle.dumps(point)) == point


def test_match() -> None:
    match Point(x=3, y=4):
        case Point(x=3, y=y):
            assert y == 4
        case _:
            pytest.fail("no match")

"""Changed copies of frozen dataclasses."""

from dataclasses import FrozenInstanceError, dataclass
from functools import cached_property

import pytest

from rasa_ft.calm.copying import replace


@dataclass(frozen=True)
class Box:
    width: int
    height: int = 1

    @cached_property
    def area(self) -> int:
        return self.width * self.height


@dataclass(frozen=True)
class Named(Box):
    name: str = ""


def test_a_copy_differs_in_what_is_named_and_works_out_the_rest_anew():
    box = Named(2, 3, "a")
    assert box.area == 6
    copy = replace(box, height=5)
    assert (copy, copy.area, box.area) == (Named(2, 5, "a"), 10, 6)
    assert type(copy) is Named
    assert hash(copy) == hash(Named(2, 5, "a"))
    with pytest.raises(FrozenInstanceError):
        copy.width = 7  # type: ignore[misc]


@pytest.mark.parametrize("name", ["depth", "area"])
def test_only_fields_can_change(name: str):
    with pytest.raises(TypeError, match=f"Box has no field '{name}'"):
        replace(Box(1), **{name: 1})

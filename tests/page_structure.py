"""The page as a tree of elements, read with the standard library's parser."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "br", "input", "img", "hr"}


@dataclass
class Node:
    """An element.

    Attributes:
        name: of it.
        attributes: name → value, None for those without one.
        children: elements within.
        words: text within it and its children, in order.
    """

    name: str
    attributes: dict[str, str | None]
    children: list[Node] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    def all(self, *names: str) -> list[Node]:
        """Elements of these names within, in order; every one where none is named."""
        found = []
        for child in self.children:
            found += [child] if not names or child.name in names else []
            found += child.all(*names)
        return found

    def one(self, name: str) -> Node:
        """The only element of that name."""
        (found,) = self.all(name)
        return found

    def by_id(self, id_: str) -> Node:
        """The only element of that id."""
        (found,) = (each for each in self.all() if each.attributes.get("id") == id_)
        return found

    def of_class(self, name: str) -> list[Node]:
        """Elements of a class."""
        return [each for each in self.all() if name in (each.attributes.get("class") or "").split()]

    @property
    def text(self) -> str:
        """Its words, with single spaces."""
        return " ".join("".join(self.words).split())


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open = [Node("", {})]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, dict(attrs))
        assert len(node.attributes) == len(attrs), f"an attribute of {tag} is there twice"
        self.open[-1].children.append(node)
        if tag not in VOID:
            self.open.append(node)

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].name == tag, f"{tag} ends within {self.open[-1].name}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        for node in self.open:
            node.words.append(data)


def parsed(page: str) -> Node:
    """The root of a page whose elements all end where they must."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    (root,) = reader.open
    return root

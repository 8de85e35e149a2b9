"""YAML of a page: no key twice, no object of Python's, no more values than a page needs once aliases are expanded."""

from __future__ import annotations

from typing import Any

import yaml

from quantbench.files import short_name

# Our largest workload file has some 300 values.
MOST_VALUES = 20_000
MERGE = "tag:yaml.org,2002:merge"


class _UniqueKeyLoader(yaml.SafeLoader):
    """Safe YAML that refuses a key given twice, which PyYAML would silently resolve to the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == MERGE:
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key is not plain text", key_node.start_mark)
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{short_name(key)}' is given twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def parsed(text: str) -> Any:
    """The value of a YAML document.

    Aliases are counted as often as they are used, before anything is made of them: a few hundred bytes of nested merge
    keys would otherwise take gigabytes.

    Raises:
        yaml.YAMLError: if it is none, gives a key twice, or has more values than a page.
        RecursionError: if it is nested too deeply.

    Example:
        >>> parsed("{a: &x {b: 1}, c: {<<: *x, d: 2}}")
        {'a': {'b': 1}, 'c': {'b': 1, 'd': 2}}
    """
    loader = _UniqueKeyLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _check_size(node)
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _check_size(root: yaml.Node) -> None:
    """Refuses a document whose values, aliases expanded, are too many, or one that contains itself."""
    sizes: dict[int, int] = {}
    open_: set[int] = set()

    def size(node: yaml.Node) -> int:
        if isinstance(node, yaml.ScalarNode):
            return 1
        if id(node) in open_:
            raise yaml.constructor.ConstructorError(None, None, "an alias contains itself", node.start_mark)
        if id(node) not in sizes:
            open_.add(id(node))
            children = [each for pair in node.value for each in (pair if isinstance(pair, tuple) else (pair,))]
            sizes[id(node)] = 1 + sum(size(child) for child in children)
            open_.discard(id(node))
            if sizes[id(node)] > MOST_VALUES:
                problem = f"more than {MOST_VALUES:,} values, those of aliases counted each time"
                raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        return sizes[id(node)]

    size(root)

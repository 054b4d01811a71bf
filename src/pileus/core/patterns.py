"""Regular expressions of users, searched for in time that grows with the text and never with the pattern's cunning.

Python's `re` backtracks: a pattern such as `(a+)+$` keeps it busy for hours, and with it everybody whose requests wait. Here a pattern
becomes a set of states that a text is walked through once (Thompson's construction; sets of states are kept as they are met).
What only backtracking could do, groups to refer back to and looks around, is refused.
"""

import re
from collections.abc import Callable

import msgspec

from pileus.model.errors import Invalid

LONGEST = 255
DEEPEST = 40
MOST_STATES = 2000
MOST_WORK = 1_000_000
"""Steps that one pattern may cost over all texts: about half a second."""

Test = Callable[[str], bool]


class _State(msgspec.Struct):
    """A place in the pattern: it takes a character that passes `test`, or goes on by itself. `at`: "^" or "$", where that is needed."""

    following: list[int]
    test: Test | None = None
    at: str = ""


class Pattern:
    """A compiled pattern; capitals make no difference. Invalid when it is none, or one that can't be searched for in good time."""

    def __init__(self, text: str) -> None:
        if len(text) > LONGEST:
            raise Invalid(f"A pattern has at most {LONGEST} characters.")
        try:
            re.compile(text)
        except (re.error, RecursionError, OverflowError) as error:
            raise Invalid(f"'{text}' is not a 'regex'") from error
        self._text = text
        self._states: list[_State] = []
        self._work = 0
        end = self._add(_State(following=[]))
        self._final = end
        self._first = self._build(_Reader(text).alternatives(0), end)
        self._known: dict[frozenset[int], dict[str, frozenset[int]]] = {}

    def found_in(self, text: str) -> bool:
        """Whether the pattern matches somewhere in the text."""
        beginning = self._reach([self._first], "^")
        current = beginning
        for character in text.lower():
            if self._final in current:
                return True
            table = self._known.setdefault(current, {})
            following = table.get(character)
            if following is None:
                following = table[character] = self._step(current, character)
            self._spend(1)
            current = following
        return self._final in self._reach([*current] if text else [*beginning], "$" if text else "^$")

    def _step(self, current: frozenset[int], character: str) -> frozenset[int]:
        reached = [self._first]
        for number in current:
            state = self._states[number]
            if state.test is not None and state.test(character):
                reached += state.following
        self._spend(10 + len(current))
        return self._reach(reached, "")

    def _reach(self, numbers: list[int], at: str) -> frozenset[int]:
        """The states that these lead to without a character."""
        found: set[int] = set()
        waiting = list(numbers)
        while waiting:
            number = waiting.pop()
            state = self._states[number]
            if number in found:
                continue
            found.add(number)
            if state.test is None and (not state.at or state.at in at):
                waiting += state.following
        self._spend(len(found))
        return frozenset(found)

    def _spend(self, steps: int) -> None:
        self._work += steps
        if self._work > MOST_WORK:
            raise Invalid(f"The pattern '{self._text}' takes too long to look for; write a simpler one.")

    # from text to states: each part is built with what follows it known already, so the text is read into a tree first

    def _add(self, state: _State) -> int:
        if len(self._states) >= MOST_STATES:
            raise Invalid(f"The pattern '{self._text}' is too large.")
        self._states.append(state)
        return len(self._states) - 1

    def _build(self, tree: "_Tree", end: int) -> int:
        self._spend(MOST_WORK // (10 * MOST_STATES))  # even of nothing there may not be too many
        match tree.kind:
            case "test":
                return self._add(_State(following=[end], test=tree.test))
            case "at":
                return self._add(_State(following=[end], at=tree.at))
            case "any of":
                return self._add(_State(following=[self._build(part, end) for part in tree.parts]))
            case "repeat":
                return self._repeat(tree, end)
            case _:
                for part in reversed(tree.parts):
                    end = self._build(part, end)
                return end

    def _repeat(self, tree: "_Tree", end: int) -> int:
        part = tree.parts[0]
        if tree.most is None:
            again = self._add(_State(following=[end]))
            self._states[again].following.append(self._build(part, again))
            start = again
        else:
            start = end
            for _ in range(tree.most - tree.least):
                start = self._add(_State(following=[end, self._build(part, start)]))
        for _ in range(tree.least):
            start = self._build(part, start)
        return start


class _Tree(msgspec.Struct):
    """A part of a pattern: "test", "at", "any of", "sequence" or "repeat"."""

    kind: str
    parts: "list[_Tree]" = []
    test: Test | None = None
    at: str = ""
    least: int = 0
    most: int | None = None


class _Reader:
    """Reads a pattern that `re` has found to be well formed."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._place = 0

    def alternatives(self, depth: int) -> _Tree:
        """Up to a closing parenthesis or the end."""
        if depth > DEEPEST:
            raise Invalid(f"The pattern '{self._text}' has more than {DEEPEST} parentheses in each other.")
        branches = [self._sequence(depth)]
        while self._take("|"):
            branches.append(self._sequence(depth))
        return branches[0] if len(branches) == 1 else _Tree(kind="any of", parts=branches)

    def _sequence(self, depth: int) -> _Tree:
        parts: list[_Tree] = []
        while self._place < len(self._text) and self._text[self._place] not in "|)":
            part = self._atom(depth)
            while repeated := self._repetition(part):
                part = repeated
            parts.append(part)
        return _Tree(kind="sequence", parts=parts)

    def _atom(self, depth: int) -> _Tree:
        first = self._text[self._place]
        self._place += 1
        if first == "(":
            if self._take("?") and not self._take(":"):
                raise self._refused()
            inner = self.alternatives(depth + 1)
            self._take(")")
            return inner
        if first in "^$":
            return _Tree(kind="at", at=first)
        if first == ".":
            return _Tree(kind="test", test=lambda character: character != "\n")
        if first == "[":
            return self._set()
        if first == "\\":
            return self._escape()
        return _literal(first)

    def _set(self) -> _Tree:
        start = self._place - 1
        self._take("^")
        self._take("]")
        while self._text[self._place] != "]":
            self._place += 2 if self._text[self._place] == "\\" else 1
        self._place += 1
        return _single(self._text[start : self._place])

    def _escape(self) -> _Tree:
        letter = self._text[self._place]
        self._place += 1
        if letter in "dDwWsS":
            return _single(f"\\{letter}")
        if letter == "A":
            return _Tree(kind="at", at="^")
        if letter == "Z":
            return _Tree(kind="at", at="$")
        if letter.isalnum():
            raise self._refused()
        return _literal(letter)

    def _repetition(self, part: _Tree) -> _Tree | None:
        found = re.compile(r"[*+?]|\{(\d*)(,?)(\d*)\}").match(self._text, self._place)
        if found is None or found[0] in ("{}", "{,}"):
            return None
        self._place = found.end()
        self._take("?")  # lazy: makes no difference to whether something is found
        if found[0] in "*+?":
            return _Tree(kind="repeat", parts=[part], least=int(found[0] == "+"), most=1 if found[0] == "?" else None)
        least = int(found[1] or 0)
        most = least if not found[2] else int(found[3]) if found[3] else None
        return _Tree(kind="repeat", parts=[part], least=least, most=most)

    def _take(self, text: str) -> bool:
        there = self._text.startswith(text, self._place)
        self._place += len(text) if there else 0
        return there

    def _refused(self) -> Invalid:
        return Invalid(f"The pattern '{self._text}' has something that is not supported: looks around, references, flags and escapes.")


def _literal(wanted: str) -> _Tree:
    lower = wanted.lower()
    return _Tree(kind="test", test=lambda character: character == lower)


def _single(text: str) -> _Tree:
    compiled = re.compile(text, re.IGNORECASE)
    return _Tree(kind="test", test=lambda character: compiled.match(character) is not None)

"""Invariants: each is proven by breaking what it says in a world that is otherwise whole."""

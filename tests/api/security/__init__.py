"""Attacks that others have published, tried against pileus; bounds on what anybody may send; secrets that must not come out anywhere."""

"""Codes of languages, by which names of folders and columns of lists are told from those of people. Pure.

Source of the languages: those of Common Voice, FLEURS, MLS and VoxPopuli.
"""

from __future__ import annotations

_CODES = (
    "af am ar as az be bg bn bs ca cs cy da de el en es et eu fa fi fr ga gl gu he hi hr hu hy id is it ja jv ka kk km "
    "kn ko ky lb lo lt lv mk ml mn mr ms mt my nb ne nl no or pa pl ps pt ro ru sk sl so sr sv sw ta te th tr uk ur uz "
    "vi zh"
)
LANGUAGE_CODE = rf"(?:cmn|yue|{_CODES.replace(' ', '|')})(?:[-_](?:[a-z]{{2}}|hans|hant))*"
"""A regular expression for `de`, `en_US` or `cmn_hans_cn`, in small letters or not."""

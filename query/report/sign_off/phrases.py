"""Phrases of the one-page summary: built in, or from a template file in another language. A template is data: it runs no code."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from embeddings.errors import SynthtraceError
from embeddings.files.reading import parse_toml
from query.text import name

ENGLISH = Path(__file__).with_name("english.toml")
_LARGEST = 1 << 20  # bytes of a template
_LONGEST = 400  # characters of a phrase: the summary is one page


class TemplateError(SynthtraceError, ValueError):
    """A template file cannot be used; the message is one line that names the file and the phrase."""


@dataclass(frozen=True)
class Phrases:
    """The texts of a summary, ``section.key`` -> text with ``$fields``."""

    texts: Mapping[str, str]

    def __call__(self, key: str, **fields: object) -> str:
        """The phrase with its fields filled in; numbers as the language writes them."""
        return Template(self.texts[key]).substitute({field: self.value(value) for field, value in fields.items()})

    def value(self, value: object) -> str:
        """Numbers in the language's marks, ``1,234`` or ``0.61``; what is not shown as that; texts as they are."""
        if value is None:
            return self.texts["page.hidden"]
        if not isinstance(value, int | float):
            return str(value)
        marks = {",": self.texts["format.thousands"], ".": self.texts["format.decimal"]}
        written = f"{value:,}" if isinstance(value, int) else f"{value:.2f}" if value >= 0.095 else f"{value:.2g}"
        return "".join(marks.get(character, character) for character in written)

    def interval(self, value: float, low: float, high: float) -> str:
        """``0.61 [0.53, 0.69]``, as the language writes it."""
        ends = (f"{each:.2f}".replace(".", self.texts["format.decimal"]) for each in (value, low, high))
        return self("format.interval", **dict(zip(("value", "low", "high"), ends, strict=True)))


def read_phrases(path: Path = ENGLISH) -> Phrases:
    """The phrases of a file, which must be those of the built-in one with the same fields.

    Raises:
        TemplateError: the file cannot be read, is no TOML, lacks a phrase or a field, or has one too many.
    """
    texts = _texts(path)
    if path == ENGLISH:
        return Phrases(texts)
    own = _texts(ENGLISH)
    shown = name(str(path))
    for key in sorted({*own, *texts}):
        if key not in texts:
            raise TemplateError(f"{shown}: phrase {key} is missing; it says {own[key]!r} in English")
        if key not in own:
            raise TemplateError(f"{shown}: there is no phrase {name(key)}; {ENGLISH} has those there are")
        wanted, found = _fields(own[key], f"{ENGLISH}: {key}"), _fields(texts[key], f"{shown}: phrase {key}")
        for field in sorted(wanted ^ found):
            wrong = f"lacks ${field}" if field in wanted else f"has ${field}, which is none of its fields"
            fields = ", ".join(f"${each}" for each in sorted(wanted)) or "none"
            raise TemplateError(f"{shown}: phrase {key} {wrong}; its fields are: {fields}")
    return Phrases(texts)


def _texts(path: Path) -> dict[str, str]:
    """``section.key`` -> text."""
    shown = name(str(path))
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise TemplateError(f"{shown}: larger than a template can be; copy {ENGLISH} and translate it")
        parsed = parse_toml(content.decode("utf-8-sig"))
    except OSError as error:
        raise TemplateError(f"{shown}: {error.strerror}") from error
    except ValueError as error:
        if isinstance(error, TemplateError):
            raise
        raise TemplateError(f"{shown}: no TOML ({error}); copy {ENGLISH} and translate it") from error
    return {
        f"{section}.{key}": _text(shown, section, key, text)
        for section, keys in parsed.items()
        for key, text in _items(shown, section, keys)
    }


def _items(shown: str, section: str, keys: Any) -> list[tuple[str, Any]]:
    if not isinstance(keys, Mapping):
        raise TemplateError(f"{shown}: {name(section)} stands in no section; sections are {', '.join(_sections())}")
    return list(keys.items())


def _sections() -> list[str]:
    return list(parse_toml(ENGLISH.read_text(encoding="utf-8")))


def _text(shown: str, section: str, key: str, text: Any) -> str:
    where = f"{shown}: phrase {name(section)}.{name(key)}"
    if not isinstance(text, str) or not text.strip():
        raise TemplateError(f"{where} is no text")
    if len(text) > _LONGEST:
        raise TemplateError(f"{where} has {len(text):,} characters; {_LONGEST} are the most, for the summary is one page")
    return " ".join(text.split())


def _fields(text: str, where: str) -> set[str]:
    """Names of the fields of a phrase."""
    template = Template(text)
    if not template.is_valid():
        raise TemplateError(f"{where} has a dollar that starts no field; write $$ for a dollar")
    return set(template.get_identifiers())

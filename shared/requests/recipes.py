"""Fill in recipes. A recipe is a generate body with placeholders for the values of an upload.

    {{asset_url}}        a link to the uploaded file, signed when the job is submitted
    {{assets.<label>}}   the same for a file that an uploaded manifest names
    {{filename}}         shoe.jpg
    {{stem}}             shoe
    {{date}}             2026-11-22 (UTC)
    {{metadata.<name>}}  the object's own metadata (x-amz-meta-<name>)
    {{tags.<name>}}      the object's own tags
    {{…|<default>}}      the default is used where there is no such value

Case matters only in labels and in names of tags. An unknown placeholder is an error even with a default. The filled
body is not validated here; `shared.genviral.models` does that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from shared.genviral.redaction import strings_of
from shared.jobs.errors import RecipeInvalid
from shared.requests.media_types import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

# The uploads bucket: `uploads/<recipe>/<file>`, `requests/<name>.json`, `recipes/<name>.json`. Files under `assets/`
# are used by a manifest, `uploads/<recipe>/<name>.manifest.json`, that names them. `batches/<name>.csv` or `.jsonl` has
# a request in each row; its plan is stored under `plans/`.
UPLOADS = "uploads/"
REQUESTS = "requests/"
RECIPES = "recipes/"
ASSETS = "assets/"
BATCHES = "batches/"
PLANS = "plans/"
MANIFEST_SUFFIX = ".manifest.json"
DEFAULT_RECIPE = "default"

# A placeholder ends at the next pair of braces of either kind, so that the search is linear in the text.
_PLACEHOLDER = re.compile(r"\{\{((?:(?!\{\{|\}\}).)*+)(\}\})?", re.DOTALL)
_MAX_ISSUES = 20
_MAX_SHOWN = 100  # characters of a name or path in an issue
ASSET_URL = "asset_url"
ASSET_PREFIX = "assets."
METADATA_PREFIX = "metadata."
TAG_PREFIX = "tags."
_PLAIN = frozenset({ASSET_URL, "filename", "stem", "date"})
# What may follow a prefix: a manifest's label, a name that a header can have, and a tag's key.
LABEL = re.compile(r"[0-9A-Za-z_-]{1,50}")
_NAMES = {
    ASSET_PREFIX: LABEL,
    METADATA_PREFIX: re.compile(r"[!#$%&'*+.^_`~0-9A-Za-z-]+"),  # https://www.rfc-editor.org/rfc/rfc9110#section-5.6.2
    TAG_PREFIX: re.compile(r"\S(?:.*\S)?", re.DOTALL),
}
# A linked list from the value outwards. Building each value's path as a text would cost the path's whole length.
_Path: TypeAlias = "tuple[_Path, str | int] | None"


# The fields whose name tells the kind of file. Source: the vendor's page for the generate call.
KIND_OF_FIELD = {
    "image_url": Kind.IMAGE,
    "reference_image_urls": Kind.IMAGE,
    "video_url": Kind.VIDEO,
    "reference_video_urls": Kind.VIDEO,
    "audio_url": Kind.AUDIO,
    "reference_audio_urls": Kind.AUDIO,
}


def recipe_of(key: str) -> str:
    """Return the recipe that an upload's key names: `uploads/<recipe>/<file>`, or the default for `uploads/<file>`."""
    folder, separator, _ = key.removeprefix(UPLOADS).partition("/")
    return folder if separator else DEFAULT_RECIPE


def recipe_named_by(key: str) -> str | None:
    """Return the name of the recipe with the key `recipes/<name>.json`; None where no upload could ever use it."""
    name = key.removeprefix(RECIPES).removesuffix(".json")
    return name if key == f"{RECIPES}{name}.json" and name and "/" not in name else None


@dataclass(frozen=True, slots=True)
class Filled:
    """A recipe without its placeholders.

    Attributes:
        body: The generate body.
        takes: Placeholder of a file → the kinds of file that the fields with its link accept. Fields that accept any
            file are left out.
    """

    body: dict[str, Any]
    takes: dict[str, set[Kind]]


def is_file(placeholder: str) -> bool:
    """Whether a placeholder stands for the link to a file."""
    return placeholder == ASSET_URL or placeholder.startswith(ASSET_PREFIX)


def placeholders(recipe: object) -> dict[str, bool]:
    """Return the placeholders in a recipe → whether each occurrence has a default, so that no value is needed."""
    found: dict[str, bool] = {}
    for text in strings_of(recipe):
        for match in _PLACEHOLDER.finditer(text):
            if match[2]:
                name, has_default, _ = _parts(match[1])
                found[name] = bool(has_default) and found.get(name, True)
    return found


def fill(recipe: object, name: str, values: Mapping[str, str]) -> Filled:
    """Put an upload's values into a recipe.

    Args:
        recipe: The recipe's JSON value.
        name: The recipe's name, for the error's text.
        values: Placeholder → value.

    Raises:
        RecipeInvalid: The recipe is not a JSON object, or a placeholder is unknown, has no value or no end, or stands
            for one file in fields that accept two kinds.
    """
    filled, issues = try_fill(recipe, name, values)
    if issues:
        raise RecipeInvalid(f"recipe '{name}' needs values that this upload does not have", issues=issues)
    return filled


def try_fill(recipe: object, name: str, values: Mapping[str, str]) -> tuple[Filled, tuple[dict[str, str], ...]]:
    """Put the available values into a recipe, and list what is missing.

    Returns:
        The recipe, with an empty text where a value is missing, and the first issues.

    Raises:
        RecipeInvalid: The recipe is not a JSON object.
    """
    if not isinstance(recipe, dict):
        raise RecipeInvalid(f"recipe '{name}' is not a JSON object")
    filler = _Filler(values)
    body = filler.filled(recipe, None)
    return Filled(body, filler.takes), tuple(filler.issues)


class _Filler:
    """Fill one recipe and collect its issues.

    Args:
        values: Placeholder → value.
    """

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self.takes: dict[str, set[Kind]] = {}
        self.issues: list[dict[str, str]] = []

    def filled(self, value: Any, path: _Path) -> Any:
        """Return the value at `path` with its placeholders replaced."""
        if isinstance(value, dict):
            return {key: self.filled(member, (path, key)) for key, member in value.items()}
        if isinstance(value, list):
            return [self.filled(member, (path, index)) for index, member in enumerate(value)]
        return _PLACEHOLDER.sub(lambda match: self._replaced(match, path), value) if isinstance(value, str) else value

    def _replaced(self, match: re.Match[str], path: _Path) -> str:
        if not match[2]:
            return self._wrong(path, "{{ is never closed by }}")
        placeholder, has_default, default = _parts(match[1])
        shown = f"{{{{{placeholder[:_MAX_SHOWN]}}}}}"
        if is_file(placeholder) and (kind := KIND_OF_FIELD.get(str(_members(path)[0]))):
            kinds = self.takes.setdefault(placeholder, set())
            kinds.add(kind)
            if len(kinds) > 1:
                return self._wrong(path, f"{shown} is one file, and cannot be {' and '.join(sorted(kinds))}")
        if placeholder in self._values:
            return self._values[placeholder]
        if not is_known(placeholder):  # with a default, a mistyped name would be paid for without the upload's value
            meant = _meant(placeholder)
            return self._wrong(path, f"{shown} is not a placeholder{f'; did you mean {meant}?' if meant else ''}")
        if has_default:
            return default
        return self._wrong(path, f"{shown} {_why_missing(placeholder)}")

    def _wrong(self, path: _Path, message: str) -> str:
        if len(self.issues) < _MAX_ISSUES:
            where = ".".join(str(member)[:_MAX_SHOWN] for member in _members(path))
            self.issues.append({"path": where[:_MAX_SHOWN], "message": message})
        return ""


def _members(path: _Path) -> list[str | int]:
    """Return the names and indexes that lead to a value, outermost first."""
    members: list[str | int] = []
    while path is not None:
        path, member = path
        members.append(member)
    return members[::-1]


def _meant(placeholder: str) -> str | None:
    """Return the placeholder that was probably meant by an unknown one; None where nothing is near."""
    import difflib  # only a wrong recipe needs it

    first, dot, rest = placeholder.partition(".")
    if dot and (near := difflib.get_close_matches(first.lower(), [prefix[:-1] for prefix in _NAMES], 1, _NEAR)):
        name = f"{near[0]}.{rest}"
        return f"{{{{{name}}}}}"[:_MAX_SHOWN] if is_known(name) else None
    word = re.sub(r"[^a-z]+", "_", placeholder.lower()).strip("_")
    near = [_SYNONYMS[word]] if word in _SYNONYMS else difflib.get_close_matches(word, sorted(_PLAIN), 1, _NEAR)
    return f"{{{{{near[0]}}}}}" if near else None


_NEAR = 0.6
_SYNONYMS = dict.fromkeys(("asset", "url", "file_url", "image", "image_url", "upload", "upload_url"), ASSET_URL)
_SYNONYMS |= {"file": "filename", "name": "filename", "today": "date"}


def _why_missing(placeholder: str) -> str:
    if placeholder == ASSET_URL:
        return f"has no value: for an upload with a manifest, use {{{{{ASSET_PREFIX}<label>}}}}"
    return "has no value for this upload"


def _parts(written: str) -> tuple[str, str, str]:
    """Return a placeholder's canonical name, whether it has a default, and the default."""
    name, has_default, default = written.partition("|")
    return _canonical(name.strip()), has_default, default.strip()


def _canonical(name: str) -> str:
    first, dot, rest = name.partition(".")
    prefix = first.lower() + dot
    if prefix not in _NAMES:
        return name.lower() if name.lower() in _PLAIN else name
    # S3 stores names of metadata in lower case.
    return prefix + (rest.lower() if prefix == METADATA_PREFIX else rest)


def is_known(placeholder: str) -> bool:
    """Whether an upload could have a value for a placeholder of this name."""
    prefix, dot, rest = placeholder.partition(".")
    form = _NAMES.get(prefix + dot)
    return placeholder in _PLAIN or (form is not None and form.fullmatch(rest) is not None)

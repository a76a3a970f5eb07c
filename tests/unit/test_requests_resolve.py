"""Test the way from an upload to a generate body: what is sent, what is kept, and the name of every error."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.faults import Fault, Paid
from shared.genviral.errors import InvalidPayload
from shared.jobs.errors import (
    AssetMissing,
    RecipeInvalid,
    RecipeMissing,
    RequestUnreadable,
    UploadMisplaced,
    UploadTooLarge,
    UploadUnreadable,
    UploadUnsupported,
)
from shared.jobs.links import without_secrets
from shared.jobs.record import Job
from shared.jobs.states import Status
from shared.requests.media_types import Kind
from shared.requests.recipes import KIND_OF_FIELD, fill, recipe_named_by, recipe_of
from shared.requests.resolve import Resolution, Resolver, check_recipe
from tests.support.fakes import BODY, JOB_ID, PNG, UPLOADS, Flaky, World, failed
from tests.support.media_files import media

RECIPE = {
    "model_id": "bytedance/seedance-2.0",
    "prompt": "{{stem}} of {{ filename }} on {{metadata.place}}",
    "reference_image_urls": ["{{asset_url}}"],
    "params": {"duration_seconds": 5, "generate_audio": True},
    "metadata": {"file": "{{filename}}", "link": "{{asset_url}}"},
}
PLAIN = {"model_id": "m", "image_url": "{{asset_url}}"}
MP4 = b"\0\0\0\x20ftypisom" + bytes(64)
MP3 = b"ID3" + bytes(64)


def job_for(key: str, version_id: str | None = None, kind: str = "upload") -> Job:
    source = {"type": kind, "bucket": UPLOADS, "key": key, "version_id": version_id}
    source = {name: value for name, value in source.items() if value}
    return Job(job_id=JOB_ID, status=Status.QUEUED, created_at="2026-11-22T10:15:30Z", source=source)


def resolve(world: World, key: str, version_id: str | None = None, kind: str = "upload", **options: Any) -> Resolution:
    return world.resolver(**options).resolve(job_for(key, version_id, kind))


def test_a_picture_and_a_recipe_make_a_body(world: World) -> None:
    version = world.upload("uploads/shoe.jpg", PNG, Metadata={"Place": "marble"})
    world.recipe(RECIPE)
    made = resolve(world, "uploads/shoe.jpg", version)
    assert made.body["prompt"] == "shoe of shoe.jpg on marble"
    assert made.body["params"] == RECIPE["params"]
    assert (made.recipe, made.model_id) == ("default", RECIPE["model_id"])
    link = urlsplit(made.body["reference_image_urls"][0])
    query = parse_qs(link.query)
    assert (query["X-Amz-Expires"], query["versionId"]) == (["21600"], [version])
    assert "metadata" not in made.body


def test_no_signed_link_is_kept(world: World) -> None:
    version = world.upload("uploads/shoe.jpg", PNG, Metadata={"Place": "marble"})
    world.recipe(RECIPE)
    made = resolve(world, "uploads/shoe.jpg", version)
    assert "X-Amz-Signature" in json.dumps(made.body)
    assert made.request["reference_image_urls"] == [f"s3://{UPLOADS}/uploads/shoe.jpg"]
    assert made.metadata == {"file": "shoe.jpg", "link": f"s3://{UPLOADS}/uploads/shoe.jpg"}
    assert "X-Amz" not in json.dumps([made.request, made.metadata]) + repr(made)


def test_the_version_of_the_event_is_used_though_the_key_was_overwritten(world: World) -> None:
    version = world.upload("uploads/shoe.jpg", PNG, Metadata={"place": "first"})
    world.upload("uploads/shoe.jpg", b"only text now", Metadata={"place": "second"})
    world.recipe(RECIPE)
    assert resolve(world, "uploads/shoe.jpg", version).body["prompt"].endswith("first")
    with pytest.raises(UploadUnsupported):
        resolve(world, "uploads/shoe.jpg")


@pytest.mark.parametrize(
    "key",
    [
        "uploads/schöne Schuhe + 100 % & 'x'?#=;,:@.JPG",
        "uploads/靴 👟.jpeg",
        "uploads/a%20b+c.jpg",
        "uploads/" + "ü" * 508,
    ],
)
def test_any_key_that_s3_takes_is_read_and_signed(world: World, key: str) -> None:
    assert len(key.encode()) <= 1024
    world.upload(key, PNG)
    world.recipe(PLAIN)
    made = resolve(world, key)
    assert unquote(urlsplit(made.body["image_url"]).path).endswith(f"/{key}")
    assert made.request["image_url"] == f"s3://{UPLOADS}/{key}"


@pytest.mark.parametrize(
    ("key", "recipe"),
    [
        ("uploads/a.jpg", "default"),
        ("uploads/shoes/a.jpg", "shoes"),
        ("uploads/shoes/red/a.jpg", "shoes"),
        ("uploads//a.jpg", ""),
        ("uploads/ü x/a.jpg", "ü x"),
    ],
)
def test_the_folder_names_the_recipe(key: str, recipe: str) -> None:
    assert recipe_of(key) == recipe


@pytest.mark.parametrize("name", ["CLIP.MOV", "clip.mp4", "clip.jpg", "clip"])
def test_the_content_counts_not_the_suffix(world: World, name: str) -> None:
    world.upload(f"uploads/{name}", MP4)
    world.recipe({"model_id": "m", "video_url": "{{asset_url}}"})
    assert resolve(world, f"uploads/{name}").body["video_url"]


@pytest.mark.parametrize(("field", "kind"), KIND_OF_FIELD.items())
def test_each_field_takes_its_kind_and_no_other(world: World, field: str, kind: Kind) -> None:
    value = ["{{asset_url}}"] if field.endswith("s") else "{{asset_url}}"
    world.recipe(
        {"model_id": "m", field: value, "image_url" if kind is Kind.AUDIO else "prompt": "https://example.com"}
    )
    for other, body in ((Kind.IMAGE, PNG), (Kind.VIDEO, MP4), (Kind.AUDIO, MP3)):
        world.upload("uploads/file", body)
        if other is kind:
            assert resolve(world, "uploads/file").body[field]
        else:
            with pytest.raises(UploadUnsupported, match=f"takes {kind}"):
                resolve(world, "uploads/file")


def wrong(world: World, name: str) -> Resolution:
    """Resolve an upload with the named error."""
    good = world.upload("uploads/good.jpg", PNG)
    world.recipe(PLAIN)
    match name:
        case "gone":
            return resolve(world, "uploads/never.jpg")
        case "deleted":
            world.s3.delete_object(Bucket=UPLOADS, Key="uploads/good.jpg")
            return resolve(world, "uploads/good.jpg")
        case "version gone":
            world.s3.delete_object(Bucket=UPLOADS, Key="uploads/good.jpg", VersionId=good)
            return resolve(world, "uploads/good.jpg", good)
        case "empty":
            world.upload("uploads/good.jpg", b"")
            return resolve(world, "uploads/good.jpg")
        case "too large":
            return resolve(world, "uploads/good.jpg", max_bytes=len(PNG) - 1)
        case "text named .jpg":
            world.upload("uploads/text.jpg", b"This is no picture.")
            return resolve(world, "uploads/text.jpg")
        case "no recipe":
            world.upload("uploads/other/good.jpg", PNG)
            return resolve(world, "uploads/other/good.jpg")
        case "recipe too long":
            key = f"uploads/{'x' * 1010}/y"
            world.upload(key, PNG)
            return resolve(world, key)
        case _:
            world.recipe(BAD_RECIPES[name])
            return resolve(world, "uploads/good.jpg")


BAD_RECIPES: dict[str, object] = {
    "no json": b'{"model_id": ',
    "no text": b"\xff\xfe\x00",
    "endless": b"[" * 100_000,
    "a list": [],
    "a number": 1,
    "unknown placeholder": {"model_id": "m", "image_url": "{{asset}}"},
    "missing metadata": {"model_id": "m", "prompt": "{{metadata.place}}"},
    "recipe too large": b'{"prompt": "' + b"x" * 300_000 + b'"}',
    "unknown field": {**PLAIN, "colour": "red"},
    "too many": {"model_id": "m", "reference_image_urls": ["{{asset_url}}"] * 10},
    "metadata is text": {**PLAIN, "metadata": "text"},
    "deep": b'{"model_id": "m", "raw_params": {"x": ' + b"[" * 800 + b"]" * 800 + b"}}",
}
NAMED: dict[str, type[Fault] | tuple[type[Fault], ...]] = {
    "gone": UploadUnreadable,
    "deleted": UploadUnreadable,
    "version gone": UploadUnreadable,
    "empty": UploadUnreadable,
    "too large": UploadTooLarge,
    "text named .jpg": UploadUnsupported,
    "no recipe": RecipeMissing,
    "recipe too long": RecipeMissing,
    "no json": RecipeInvalid,
    "no text": RecipeInvalid,
    "endless": RecipeInvalid,
    "a list": RecipeInvalid,
    "a number": RecipeInvalid,
    "unknown placeholder": RecipeInvalid,
    "missing metadata": RecipeInvalid,
    "recipe too large": UploadTooLarge,
    "unknown field": InvalidPayload,
    "too many": InvalidPayload,
    "metadata is text": InvalidPayload,
    "deep": (RequestUnreadable, InvalidPayload),
}


@pytest.mark.parametrize("name", NAMED)
def test_everything_wrong_has_a_name_and_costs_nothing(world: World, name: str) -> None:
    with pytest.raises(NAMED[name]) as fault:
        wrong(world, name)
    assert fault.value.paid is Paid.NO
    assert fault.value.document()["advice"]


def test_each_placeholder_without_a_value_is_listed() -> None:
    with pytest.raises(RecipeInvalid) as fault:
        fill({"prompt": "{{a}} {{b}}", "params": {"x": ["{{c}}"]}}, "r", {"b": ""})
    assert [issue["path"] for issue in fault.value.issues] == ["prompt", "params.x.0"]


def test_a_value_is_never_read_as_a_placeholder() -> None:
    filled = fill({"prompt": "{{filename}}"}, "r", {"filename": "{{asset_url}}", "asset_url": "https://secret"})
    assert filled.body == {"prompt": "{{asset_url}}"}


# ---- defaults, tags, manifests ---------------------------------------------------------------------------


def test_a_default_stands_in_for_what_the_upload_does_not_have(world: World) -> None:
    world.recipe({**PLAIN, "prompt": "{{metadata.style|cinematic}}, {{ tags.mood | calm and slow }}{{metadata.end|}}"})
    world.upload("uploads/plain.jpg", PNG)
    world.upload("uploads/full.jpg", PNG, Metadata={"Style": "noir"}, Tagging="mood=tense&other=x")
    assert resolve(world, "uploads/plain.jpg").body["prompt"] == "cinematic, calm and slow"
    assert resolve(world, "uploads/full.jpg").body["prompt"] == "noir, tense"


@pytest.mark.parametrize("name", ["style", "Style", "STYLE"])
def test_names_of_metadata_match_without_case(world: World, name: str) -> None:
    """S3 keeps them in lower case."""
    world.recipe({**PLAIN, "prompt": f"{{{{metadata.{name}|cinematic}}}}"})
    world.upload("uploads/a.jpg", PNG, Metadata={"Style": "Film noir"})
    assert resolve(world, "uploads/a.jpg").body["prompt"] == "Film noir"


def test_metadata_is_sent_as_it_was_meant_and_not_as_s3_wraps_it(world: World) -> None:
    world.recipe({**PLAIN, "prompt": "{{metadata.speech}}"})
    world.upload("uploads/a.jpg", PNG, Metadata={"speech": "=?UTF-8?B?R3LDvMOfIEdvdHQ=?="})
    made = resolve(world, "uploads/a.jpg")
    assert made.body["prompt"] == made.request["prompt"] == "Grüß Gott"


@pytest.mark.parametrize(
    ("key", "filename", "stem"),
    [
        ("uploads/हिन्दी.jpg", "हिन्दी.jpg", "हिन्दी"),
        ("uploads/😀.jpg", "😀.jpg", "😀"),
        ("uploads/Scho\u0308ne.jpg", "Schöne.jpg", "Schöne"),  # decomposed, as on a Mac
        ("uploads/default/", "default", "default"),
    ],
)
def test_a_files_name_keeps_its_marks_and_signs(world: World, key: str, filename: str, stem: str) -> None:
    world.recipe({**PLAIN, "prompt": "{{stem}} {{filename}}"})
    world.upload(key, PNG)
    made = resolve(world, key)
    assert made.body["prompt"] == f"{stem} {filename}"
    assert made.request["image_url"] == f"s3://{UPLOADS}/{key}", "the key stays as it is"


def test_a_file_called_like_a_recipe_is_not_made_with_another_one(world: World) -> None:
    """Its folder was forgotten: `aws s3 cp shoe.jpg s3://…/uploads/shoes`."""
    world.recipe(PLAIN)
    world.recipe(PLAIN, "shoes")
    for key in ("uploads/shoes", "uploads/boots", "uploads/default", "uploads/shoes.jpg", "uploads/shoes/shoes"):
        world.upload(key, PNG)
    with pytest.raises(UploadMisplaced, match="belongs under uploads/shoes/"):
        resolve(world, "uploads/shoes")
    recipes = {key: resolve(world, f"uploads/{key}").recipe for key in ("boots", "default", "shoes.jpg", "shoes/shoes")}
    assert recipes == {"boots": "default", "default": "default", "shoes.jpg": "default", "shoes/shoes": "shoes"}


def test_of_a_file_no_more_is_read_than_tells_its_kind(world: World) -> None:
    world.recipe({"model_id": "m", "audio_url": "{{asset_url}}", "image_url": "https://example.com/a.jpg"})
    sound = media("mp4", sound="aac", brand="mp42")
    at = sound.index(b"moov") - 4
    free = (5_000_000).to_bytes(4, "big") + b"free" + bytes(5_000_000 - 8)
    version = world.upload("uploads/voice.m4a", sound[:at] + free + sound[at:])
    world.upload("uploads/voice.m4a", b"overwritten")
    watched = Flaky(world.s3, only="get_object")
    Resolver(watched, UPLOADS, max_bytes=9_000_000).resolve(job_for("uploads/voice.m4a", version))  # type: ignore[arg-type]  # a double of the client
    parts = [call for _, call in watched.calls if call["Key"] == "uploads/voice.m4a"]
    assert {call["VersionId"] for call in parts} == {version}
    spans = [tuple(map(int, call["Range"].removeprefix("bytes=").split("-"))) for call in parts]
    assert sum(end - start + 1 for start, end in spans) < 20_000


def test_tags_are_the_event_versions_and_read_only_where_wanted(world: World) -> None:
    version = world.upload("uploads/a.jpg", PNG, Tagging="mood=first")
    world.upload("uploads/a.jpg", PNG, Tagging="mood=second")
    watched = Flaky(world.s3, only="get_object_tagging")
    resolver = Resolver(watched, UPLOADS, max_bytes=1_000_000)  # type: ignore[arg-type]  # a double of the client
    world.recipe(PLAIN)
    resolver.resolve(job_for("uploads/a.jpg", version))
    assert not watched.calls
    world.recipe({**PLAIN, "prompt": "{{tags.mood}}"})
    assert resolver.resolve(job_for("uploads/a.jpg", version)).body["prompt"] == "first"


SPEAKING = {
    "model_id": "m",
    "image_url": "{{assets.face}}",
    "audio_url": "{{assets.voice}}",
    "prompt": "{{stem}}",
    "metadata": {"face": "{{assets.face}}"},
}
MANIFEST = {"assets": {"face": "assets/face.png", "voice": "assets/voice.mp3"}}


def manifest(world: World, document: object, recipe: object = SPEAKING) -> Resolution:
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    world.upload("uploads/speaking/launch.manifest.json", text)
    world.recipe(recipe, "speaking")
    return resolve(world, "uploads/speaking/launch.manifest.json")


@pytest.fixture
def library(world: World) -> World:
    world.upload("assets/face.png", PNG)
    world.upload("assets/voice.mp3", MP3)
    world.upload("assets/empty.png", b"")
    world.upload("assets/text.png", b"This is no picture.")
    return world


def test_a_manifest_brings_several_files_into_one_job(library: World) -> None:
    made = manifest(library, MANIFEST)
    for name, key in (("image_url", "assets/face.png"), ("audio_url", "assets/voice.mp3")):
        link = urlsplit(made.body[name])
        assert link.path.endswith(f"/{key}")
        assert "versionId" in parse_qs(link.query)
        assert made.request[name] == f"s3://{UPLOADS}/{key}"
    assert (made.body["prompt"], made.recipe) == ("launch", "speaking")
    assert "X-Amz" not in json.dumps([made.request, made.metadata])


@pytest.mark.parametrize(
    ("document", "error", "named"),
    [
        (b"{", RequestUnreadable, "manifest"),
        (b"\xff", RequestUnreadable, "manifest"),
        ([], InvalidPayload, ""),
        ({}, InvalidPayload, "assets"),
        ({"assets": {}}, InvalidPayload, "assets"),
        ({"assets": {f"a{n}": "assets/face.png" for n in range(16)}}, InvalidPayload, "assets"),
        ({"assets": {"face": "recipes/default.json"}}, InvalidPayload, "assets.face"),
        ({"assets": {"face": 1}}, InvalidPayload, "assets.face"),
        ({"assets": {"a.b": "assets/face.png"}}, InvalidPayload, "assets.a.b"),
        ({**MANIFEST, "recipe": "x"}, InvalidPayload, "recipe"),
        ({"assets": {**MANIFEST["assets"], "face": "assets/never.png"}}, AssetMissing, "'face'"),
        ({"assets": {**MANIFEST["assets"], "face": "assets/empty.png"}}, UploadUnreadable, "'face'"),
        ({"assets": {**MANIFEST["assets"], "face": "assets/text.png"}}, UploadUnsupported, "'face'"),
        ({"assets": {"face": "assets/face.png", "voice": "assets/face.png"}}, UploadUnsupported, "assets.voice"),
        ({"assets": {"face": "assets/face.png"}}, RecipeInvalid, "assets.voice"),
    ],
)
def test_a_wrong_manifest_is_named_with_the_file_that_is_wrong(
    library: World, document: object, error: type[Fault], named: str
) -> None:
    with pytest.raises(error) as fault:
        manifest(library, document)
    assert named in str(fault.value)


def test_a_recipe_for_one_file_says_that_a_manifest_has_none(library: World) -> None:
    with pytest.raises(RecipeInvalid) as fault:
        manifest(library, MANIFEST, PLAIN)
    assert fault.value.issues[0]["path"] == "image_url"


# ---- recipes alone -------------------------------------------------------------------------------

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize("file", sorted((REPOSITORY / "recipes").glob("*.json")), ids=lambda file: file.stem)
def test_the_worked_recipes_are_valid_with_a_plain_upload(world: World, file: Path) -> None:
    check_recipe(file.read_bytes(), file.stem)
    world.upload(f"recipes/{file.name}", file.read_bytes())
    world.upload(f"uploads/{file.stem}/file", MP4 if "video_url" in file.read_text() else PNG)
    assert resolve(world, f"uploads/{file.stem}/file").body["model_id"]


@pytest.mark.parametrize(
    "recipe",
    [
        RECIPE,
        PLAIN,
        SPEAKING,
        {"model_id": "{{metadata.model}}", "image_url": "{{tags.logo}}", "prompt": "{{metadata.a|b}} {{metadata.a}}"},
        {"model_id": "m"},
        # A name in another case, and values from labels, metadata and tags.
        {**PLAIN, "prompt": "{{Stem}} {{FileName}} {{Metadata.Style|film}} {{TAGS.Mood of it|calm}} {{date}}"},
        {"model_id": "m", "image_url": "{{Asset_URL}}", "prompt": "{{metadata.x-amz-meta-style|a}} {{assets.a_1-B|b}}"},
        # One file for two fields of its kind; two files for two kinds; a manifest's file, or else the upload's.
        {**PLAIN, "reference_image_urls": ["{{asset_url}}"]},
        {"model_id": "m", "image_url": "{{assets.a}}", "video_url": "{{assets.b}}"},
        {**PLAIN, "video_url": "{{assets.a|https://example.com/a.mp4}}"},
        {"model_id": "m", "image_url": "https://example.com/{{filename}}"},
    ],
)
def test_a_recipe_that_some_upload_could_use_is_right(recipe: object) -> None:
    check_recipe(json.dumps(recipe).encode(), "r")


@pytest.mark.parametrize(
    ("recipe", "path"),
    [
        ({**PLAIN, "prompt": "{{asset}}"}, "prompt"),
        ({**PLAIN, "prompt": "{{metadata.}}"}, "prompt"),
        ({**PLAIN, "prompt": "{{}}"}, "prompt"),
        ({**PLAIN, "colour": "red"}, "colour"),
        ({"prompt": "no model"}, "model_id"),
        ({**PLAIN, "params": {"fps": "{{metadata.fps}}"}}, "params.fps"),
        ({"model_id": "m", "image_url": "{{filename}}.jpg|{{metadata.x|no link}}"}, "image_url"),
        ({"model_id": "m", "reference_image_urls": ["{{asset_url}}"] * 10}, "reference_image_urls"),
        ({"model_id": "openai/sora-2", "speech_text": "{{stem}}"}, "speech_text"),
        ({**PLAIN, "metadata": []}, "metadata"),
        ({**PLAIN, "prompt": "{{stem"}, "prompt"),
        ({**PLAIN, "prompt": "{{stem {{filename}}"}, "prompt"),
        ({**PLAIN, "prompt": "{{{stem}}}"}, "prompt"),
        # A mistyped name is unknown, even with a default.
        *(
            ({**PLAIN, "prompt": f"{{{{{name}|Cinematic}}}}"}, "prompt")
            for name in (
                "metdata.style",
                "meta.style",
                "metadata . style",
                "metadata. style",
                "metadata.my style",
                "metadata-style",
                "metadata.stilé",
                "metadata",
                "metadata.",
                "x-amz-meta-style",
                "tag.mood",
                "tags. mood",
                "assets.a b",
                "assets.",
                "asset_url.png",
                "asset-url",
                "stem.",
                "name",
                "colour",
                "",
            )
        ),
        # One file cannot be of two kinds, and no upload has both its own file and those of a manifest.
        ({**PLAIN, "video_url": "{{asset_url}}"}, "video_url"),
        ({**PLAIN, "reference_audio_urls": ["{{Asset_URL}}"]}, "reference_audio_urls.0"),
        ({"model_id": "m", "audio_url": "{{assets.a}}", "image_url": "{{assets.a}}"}, "image_url"),
        ({**PLAIN, "video_url": "{{assets.a}}"}, "image_url"),
        # A file name is no link.
        ({"model_id": "m", "image_url": "{{stem}}"}, "image_url"),
        ({"model_id": "m", "image_url": "{{filename}}"}, "image_url"),
    ],
)
def test_a_recipe_that_no_upload_could_use_is_named_by_its_field(recipe: object, path: str) -> None:
    with pytest.raises(RecipeInvalid) as fault:
        check_recipe(json.dumps(recipe).encode(), "r")
    assert [issue["path"] for issue in fault.value.issues] == [path]


_SIZE = 256 * 1024


def _prompt(text: str) -> bytes:
    return f'{{"model_id": "m", "prompt": "{text}"}}'.encode()


# A search with backtracking, or building a path for each value, would take minutes here.
LARGE = {
    "an opening and blanks": _prompt("{{" + " " * (_SIZE - 100)),
    "many openings": _prompt("{{" * (_SIZE // 2 - 50)),
    "many openings and blanks": _prompt("{{ " * (_SIZE // 3 - 50)),
    "many openings, one end": _prompt("{{" * (_SIZE // 2 - 50) + "}}"),
    "many openings, an end in another line": _prompt("{{" * (_SIZE // 2 - 50) + "\\n}}"),
    "many placeholders": _prompt("{{a}}" * (_SIZE // 5 - 50)),
    "a long name around many values": (
        '{"model_id": "m", "' + "k" * (_SIZE // 2) + '": [' + "1," * 60_000 + "1]}"
    ).encode(),
    "a long name around placeholders": (
        '{"m": {"' + "k" * (_SIZE // 2) + '": [' + '"{{a}}",' * 15_000 + "1]}}"
    ).encode(),
    "a deep place for many values": (
        '{"raw_params":' + '{"a":' * 800 + "[" + '"",' * 80_000 + "1]" + "}" * 801
    ).encode(),
    "many fields": ('{"model_id": "m",' + ",".join(f'"{number:x}": 1' for number in range(25_000)) + "}").encode(),
}


@pytest.mark.parametrize("kind", LARGE)
def test_any_recipe_is_validated_and_its_issues_fit_into_a_message(kind: str) -> None:
    assert len(LARGE[kind]) <= _SIZE
    with pytest.raises(RecipeInvalid) as fault:
        check_recipe(LARGE[kind], "r")
    assert len(json.dumps(fault.value.document())) < 8 * 1024


def test_blanks_without_end_hide_no_wrong_field() -> None:
    recipe = {"model_id": "m", "prompt": "{{" + " " * 5_000, "params": {"fps": "fast"}}
    with pytest.raises(RecipeInvalid) as fault:
        check_recipe(json.dumps(recipe).encode(), "r")
    assert [issue["path"] for issue in fault.value.issues] == ["prompt", "params.fps"]


def test_a_mistyped_placeholder_fails_the_job_in_place_of_its_default(world: World) -> None:
    world.recipe({**PLAIN, "prompt": "{{metdata.style|Cinematic}}"})
    world.upload("uploads/a.png", PNG, Metadata={"style": "noir"})
    with pytest.raises(RecipeInvalid) as fault:
        resolve(world, "uploads/a.png")
    assert fault.value.issues[0]["path"] == "prompt"


def test_upper_and_lower_case_of_a_placeholder_are_the_same(world: World) -> None:
    world.recipe({**PLAIN, "image_url": "{{ASSET_URL}}", "prompt": "{{Stem}} {{Metadata.Style|Cinematic}}"})
    world.upload("uploads/Shoe.png", PNG, Metadata={"style": "noir"})
    assert resolve(world, "uploads/Shoe.png").body["prompt"] == "Shoe noir"


def test_a_placeholder_may_stand_over_several_lines(world: World) -> None:
    world.recipe({**PLAIN, "prompt": "{{\n metadata.style | film\nnoir }}"})
    world.upload("uploads/a.png", PNG)
    assert resolve(world, "uploads/a.png").body["prompt"] == "film\nnoir"


@pytest.mark.parametrize("place", ["recipe", "request", "manifest"])
def test_a_key_that_stands_twice_is_named_and_neither_value_is_sent(world: World, place: str) -> None:
    twice = b'{"model_id": "m", "prompt": "first", "prompt": "second", "image_url": "{{asset_url}}"}'
    world.recipe(twice if place == "recipe" else PLAIN)
    world.upload("uploads/a.png", PNG)
    world.upload("uploads/a.manifest.json", b'{"assets": {"x": "assets/1.png", "x": "assets/2.png"}}')
    world.upload("requests/a.json", twice)
    key = {"recipe": "uploads/a.png", "request": "requests/a.json", "manifest": "uploads/a.manifest.json"}[place]
    with pytest.raises((RecipeInvalid, RequestUnreadable), match=r"has the key '(prompt|x)' twice in one object"):
        resolve(world, key, kind="request" if place == "request" else "upload")


DAMAGED = {
    "a lost character": "ein gr\ufffdnes Boot".encode(),
    "a lost character as an escape": b"ein gr\\uFfFdnes Boot",
    "another encoding": "ein grünes Boot".encode("cp1252"),
    "half of a character": b"ein gr\xed\xa0\x80nes Boot",
}


@pytest.mark.parametrize("text", DAMAGED)
@pytest.mark.parametrize("place", ["recipe", "request", "manifest"])
def test_a_file_of_json_that_was_damaged_on_its_way_is_refused(world: World, place: str, text: str) -> None:
    damaged = b'{"model_id": "m", "prompt": "' + DAMAGED[text] + b'", "image_url": "{{asset_url}}"}'
    world.recipe(damaged if place == "recipe" else PLAIN)
    world.upload("uploads/a.png", PNG)
    world.upload("uploads/a.manifest.json", b'{"assets": {"x": "assets/' + DAMAGED[text] + b'"}}')
    world.upload("requests/a.json", damaged)
    key = {"recipe": "uploads/a.png", "request": "requests/a.json", "manifest": "uploads/a.manifest.json"}[place]
    with pytest.raises((RecipeInvalid, RequestUnreadable), match=r"U\+FFFD|not valid UTF-8"):
        resolve(world, key, kind="request" if place == "request" else "upload")
    if place == "recipe":
        with pytest.raises(RecipeInvalid, match=r"U\+FFFD|not valid UTF-8"):
            check_recipe(damaged, "r")


GARBLED = {
    "a lost character": "Gr\ufffdn",
    "an encoded word that cannot be decoded": "=?UTF-8?Q?Gr=FC=DFe?=",
    "an encoded word within a text": "in =?no-such-charset?Q?abc?= light",
}


@pytest.mark.parametrize("text", GARBLED)
@pytest.mark.parametrize(
    ("place", "field"),
    [
        ("{{stem}}", "prompt"),
        ("a {{filename}}", "raw_params.note"),
        ("{{metadata.note}}", "speech_text"),
        ("{{metadata.note}}", "metadata.note"),
    ],
)
def test_a_damaged_text_is_refused_where_a_recipe_inserts_it(world: World, place: str, field: str, text: str) -> None:
    garbled = GARBLED[text]
    world.recipe(document_with(field, place))
    world.upload(
        f"uploads/{garbled}.png", PNG, Metadata={"note": garbled if garbled.isascii() else "=?UTF-8?B?R3Lvv71u?="}
    )
    with pytest.raises(InvalidPayload) as refused:
        resolve(world, f"uploads/{garbled}.png")
    assert [issue["path"] for issue in refused.value.issues] == [field]


@pytest.mark.parametrize("text", GARBLED)
@pytest.mark.parametrize("field", ["prompt", "raw_params.a", "metadata.a", "name of a member"])
def test_a_damaged_text_is_refused_in_an_execution_by_hand(world: World, field: str, text: str) -> None:
    garbled = GARBLED[text]
    field = f"raw_params.{garbled}" if field == "name of a member" else field
    request = json.dumps(document_with(field, garbled))
    with pytest.raises(InvalidPayload) as refused:
        world.resolver().resolve(replace(job_for(""), source={"type": "execution"}, request=request))
    assert [issue["path"] for issue in refused.value.issues] == [field]


def test_a_file_may_have_any_name_that_no_text_holds(world: World) -> None:
    world.recipe(PLAIN)
    world.upload("uploads/Gr\ufffdn.png", PNG)
    assert "Gr%EF%BF%BDn.png" in resolve(world, "uploads/Gr\ufffdn.png").body["image_url"]


def document_with(field: str, text: str) -> dict[str, Any]:
    """Return a valid request with a text in some field."""
    outer, dot, inner = field.partition(".")
    return {"model_id": "m", "prompt": "p", outer: {inner: text} if dot else text}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_request_file_in_any_encoding_of_unicode_is_read(world: World, encoding: str) -> None:
    """Covers a text with the characters of an escape, such as `\ufffd` written out."""
    world.upload("requests/a.json", json.dumps({"model_id": "m", "prompt": "grün \\ufffd"}).encode(encoding))
    assert resolve(world, "requests/a.json", kind="request").body["prompt"] == "grün \\ufffd"


def test_metadata_that_is_null_counts_as_not_given(world: World) -> None:
    check_recipe(json.dumps({**PLAIN, "metadata": None}).encode(), "r")
    world.recipe({**PLAIN, "metadata": None})
    world.upload("uploads/a.png", PNG)
    assert resolve(world, "uploads/a.png").metadata == {}
    world.upload("requests/one.json", json.dumps({**BODY, "metadata": None}).encode())
    made = resolve(world, "requests/one.json", kind="request")
    assert (made.body, made.metadata) == (BODY, {})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
PLACE = st.sampled_from(["asset_url", "filename", "metadata.a", "tags.b", "assets.c", "assets.", "x", "", "|", "a|b"])
FIELDS = [*KIND_OF_FIELD, "model_id", "prompt", "params", "raw_params", "metadata", "speech_text", "nobody"]


@settings(max_examples=1000, deadline=None)
@given(st.dictionaries(st.sampled_from(FIELDS), JSON | PLACE.map("{{{{{}}}}}".format), max_size=6) | JSON)
def test_no_recipe_is_too_strange_to_be_judged(recipe: object) -> None:
    with contextlib.suppress(RecipeInvalid):
        check_recipe(json.dumps(recipe).encode(), "r")


@settings(max_examples=500)
@given(st.binary(max_size=60) | st.sampled_from([b"[" * 100_000, b"{" * 9, b'{"a":' * 2_000, b" " * 300_000]))
def test_no_file_is_too_strange_to_be_judged_as_a_recipe(text: bytes) -> None:
    with contextlib.suppress(RecipeInvalid):
        check_recipe(text, "r")


@settings(max_examples=500)
@given(st.text(min_size=1).filter(lambda key: len(key.encode("utf-8", "ignore")) <= 1024))
def test_any_key_names_a_recipe_or_none(key: str) -> None:
    assert "/" not in recipe_of(f"uploads/{key}")
    named = recipe_named_by(f"recipes/{key}")
    assert named is None or f"recipes/{named}.json" == f"recipes/{key}"


def test_a_request_file_is_a_body(world: World) -> None:
    version = world.upload("requests/one.json", json.dumps({**BODY, "metadata": {"order": 1}}).encode())
    world.upload("requests/one.json", b"overwritten")
    made = resolve(world, "requests/one.json", version, kind="request")
    assert (made.body, made.metadata, made.recipe) == (BODY, {"order": 1}, None)
    assert "X-Amz" not in json.dumps(made.request)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (b"", RequestUnreadable),
        (b"{", RequestUnreadable),
        (b"\xff", RequestUnreadable),
        (b"[]", InvalidPayload),
        (b"{}", InvalidPayload),
        (b'{"model_id": "m", "prompt": "\\ud800"}', InvalidPayload),
        (b" " * 300_000, UploadTooLarge),
    ],
)
def test_a_bad_request_file_has_a_name(world: World, text: bytes, error: type[Fault]) -> None:
    world.upload("requests/one.json", text)
    with pytest.raises(error):
        resolve(world, "requests/one.json", kind="request")


@pytest.mark.parametrize(
    ("code", "error"),
    [("AccessDenied", UploadUnreadable), ("InvalidObjectState", UploadUnreadable), ("SlowDown", ClientError)],
)
def test_a_forbidden_object_is_named_and_a_passing_fault_is_retried(
    world: World, code: str, error: type[Exception]
) -> None:
    class Forbidden:
        def get_object(self, **_: Any) -> Any:
            raise failed("GetObject", code)

    with pytest.raises(error):
        Resolver(Forbidden(), UPLOADS, max_bytes=1).resolve(job_for("requests/a.json", kind="request"))  # type: ignore[arg-type]  # a double of the client


def test_links_lose_what_opens_them() -> None:
    body = {
        "a": ["https://u:p@example.com:8443/x?sig=1#f", "HTTP://example.com/y?sig=2"],
        "b": {"c": "http://[bad?sig=3"},
        "prompt": "see https://example.com/x?lost=1 or example.com/y?lost=2",
        "signed": "see https://example.com/?X-Amz-Signature=4&kept=1 or\nhttps://u:p@example.com/",
        "d": ["//example.com/x?k=5", "example.com/x?k=6", " https://example.com/x?k=7\n"],
        "place": "s3://bucket/what?#1.jpg",
        "none": "a token=5 and 50%? Yes!",
    }
    assert without_secrets(body) == {
        "a": ["https://example.com:8443/x", "http://example.com/y"],
        "b": {"c": ""},
        "prompt": "see https://example.com/x or example.com/y",
        "signed": "see https://example.com/ or\nhttps://example.com/",
        "d": ["//example.com/x", "example.com/x", " https://example.com/x\n"],
        "place": "s3://bucket/what?#1.jpg",
        "none": "a token=5 and 50%? Yes!",
    }
    assert without_secrets(without_secrets(body)) == without_secrets(body)


OPENS = "S3cr3tV4lue0123456789"
WITH_SECRETS = {
    "a prompt that begins with a link": (f"https://h.example/k?st={OPENS} please", "https://h.example/k please"),
    "a link within a text": (
        f"like https://h.example/k.jpg?md5={OPENS} but red",
        "like https://h.example/k.jpg but red",
    ),
    "a link without a scheme": (f"like h.example/k.jpg?md5={OPENS} but red", "like h.example/k.jpg but red"),
    "several lines": (f"like\nhttps://h.example/k#{OPENS}\n\tbut red", "like\nhttps://h.example/k\n\tbut red"),
    "several links": (
        f"a https://h.example/1?h={OPENS}, //h.example/2?h={OPENS}",
        "a https://h.example/1 //h.example/2",
    ),
    "a user": (f"like https://u:{OPENS}@h.example/k but red", "like https://h.example/k but red"),
    "an encoded link": (f"like https%3A%2F%2Fh.example%2Fk%3Fh%3D{OPENS} now", "like https%3A%2F%2Fh.example%2Fk now"),
    "JSON": (f'{{"u": "https://h.example/k?h={OPENS}"}}', '{"u": "https://h.example/k'),
    "a proxy": (f"https://p.example/https%3A%2F%2Fh%2Fk%3Fmd5%3D{OPENS}", "https://p.example/https%3A%2F%2Fh%2Fk"),
    "a session": (f"https://h.example/k.jpg;jsessionid={OPENS}", "https://h.example/k.jpg"),
    "an address in S3": (f"s3://b/k?X-Amz-Signature={OPENS}", "s3://b/k?X-Amz-Signature=[…]"),
}


@pytest.mark.parametrize("kind", WITH_SECRETS)
def test_a_link_loses_what_opens_it_wherever_it_stands(kind: str) -> None:
    text, kept = WITH_SECRETS[kind]
    assert without_secrets({"prompt": text, "raw_params": {"a": [{"b": text}], text: 1}}) == {
        "prompt": kept,
        "raw_params": {"a": [{"b": kept}], kept: 1},
    }
    assert without_secrets(kept) == kept


@pytest.mark.parametrize(
    "name", ["token", "Authorization", "x-api-key", "apiKey", "access_token", "PASSWORD", "client_secret"]
)
def test_a_member_that_is_called_like_a_secret_loses_its_text(name: str) -> None:
    body = {"raw_params": {"headers": {name: "hunter2"}, name: {"a": ["Bearer x", 5, None]}}}
    assert without_secrets(body) == {"raw_params": {"headers": {name: "[…]"}, name: {"a": ["[…]", 5, None]}}}


@pytest.mark.parametrize(
    "body",
    [
        "What does example.com? mean, or https://example.com/what? And 50%!",
        "C#minor, why?because, 16:9, /path \\o/",
        "https://example.com/a%3Fb.png",
        "https://example.com/w_300;v=1/k.png",
        "s3://bucket/what?#1.jpg",
        {"max_tokens": "5", "content_policy": "none at all", "tokenizer": "x", "secretary": "a woman"},
    ],
)
def test_a_text_without_a_secret_stays_as_it_is(body: object) -> None:
    assert without_secrets(body) == body

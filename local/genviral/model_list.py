"""List the stand-in's video models with their prices, inputs and outputs.

They are the models in the vendor's documentation, and two more for tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

RESOLUTIONS = {"480p": 480, "720p": 720, "1080p": 1080}
"""Name → target length of the short side, pixels."""
DURATION_SECONDS = (1.0, 60.0)
FRAMES_PER_SECOND = (8.0, 60.0)
ASPECT_RATIOS = ("16:9", "9:16", "1:1", "4:3", "3:4", "21:9")
"""The listed ratios. Any other ratio is accepted, too, if the long side is at most `MAX_SIDE`."""
MAX_SIDE = 3840

_TEXT = ("prompt", "negative_prompt")
_REFERENCES = ("reference_image_urls", "reference_video_urls", "reference_audio_urls")
_SPEECH = ("speech_text", "voice_id")


@dataclass(frozen=True)
class Model:
    """One entry of `GET /studio/models`.

    Attributes:
        cost: Credits per accepted request.
        optional: Body fields that it accepts beside `required`.
        slowness: Factor for the generation time.
        fails: Whether every generation ends as `failed`.
    """

    model_id: str
    name: str
    description: str
    cost: int
    optional: tuple[str, ...]
    required: tuple[str, ...] = ()
    slowness: float = 1.0
    fails: bool = False

    def takes(self, field: str) -> bool:
        return field in self.required or field in self.optional

    def document(self) -> dict[str, Any]:
        """Return the model as the vendor lists it."""
        params = {
            "resolution": {"type": "string", "options": list(RESOLUTIONS), "default": "480p"},
            "duration_seconds": {"type": "number", "min": DURATION_SECONDS[0], "max": DURATION_SECONDS[1]},
            "fps": {"type": "number", "min": FRAMES_PER_SECOND[0], "max": FRAMES_PER_SECOND[1]},
            "aspect_ratio": {"type": "string", "options": list(ASPECT_RATIOS), "default": "16:9"},
            "generate_audio": {"type": "boolean", "default": False},
        }
        return {
            "id": self.model_id,
            "mode": "video",
            "name": self.name,
            "provider": "fal",
            "description": self.description,
            "credits": {"default_cost": self.cost},
            "inputs": {"required": list(self.required), "optional": list(self.optional)},
            "params": params,
            "raw_available_params": [],
        }


_ALL_BUT_SPEECH = (*_TEXT, "image_url", "video_url", "audio_url", *_REFERENCES)

MODELS = {
    model.model_id: model
    for model in (
        Model("bytedance/seedance-2.0", "Seedance 2.0", "Reference-to-video", 5, _ALL_BUT_SPEECH),
        Model("openai/sora-2", "Sora 2", "Prompt-driven video", 8, (*_TEXT, "image_url")),
        Model("google/veo-3", "Veo 3", "Prompt-driven video", 10, (*_TEXT, "image_url")),
        Model("veed/fabric-1.0", "Fabric 1.0", "Talking head", 4, (*_TEXT, *_SPEECH, "audio_url"), ("image_url",)),
        Model("creatify/lipsync", "Lipsync", "Lip sync", 3, (*_TEXT, *_SPEECH, "audio_url"), ("video_url",)),
        Model("standin/always-fails", "Always fails", "Accepted, charged, then failed", 1, _ALL_BUT_SPEECH, fails=True),
        Model("standin/slow", "Slow", "Needs ten times as long", 1, _ALL_BUT_SPEECH, slowness=10.0),
    )
}

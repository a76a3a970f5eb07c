"""Count the credits of each UTC day against the stack's limit, and remember what videos cost.

Counters and prices are items of the jobs table, under names that no job can have. A counter changes only in one
transaction with the job that it counts (`shared.jobs.transitions`), so no crash and no race counts a job twice or not
at all. It also has a lock: jobs whose price is not known are sent one at a time (a probe). Must not know the vendor, or
what becomes of a job that the limit does not cover.
"""

from __future__ import annotations

import hashlib
import json
import random
import time
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from shared.jobs.items import from_item, key_of
from shared.jobs.record import LONGEST_ATTEMPT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_dynamodb import DynamoDBClient

_DAY_SECONDS = 86_400
_DAYS_KEPT = 35
_PRICE_DAYS_KEPT = 90
_CONFIRMED = 3
_TRIES = 8
_LOCK_IS_FREE = "(attribute_not_exists(probe) OR probe_until < :now)"
_HIGHEST_OF_ALL = "#price"
# Parameters that cannot change a price.
_FREE_PARAMS = frozenset({"seed", "prompt", "negative_prompt"})
# Fields that may change a price by being present or by their length. Their content cannot be judged here.
_MEDIA = ("image_url", "video_url", "audio_url")
_LISTS_OF_MEDIA = ("reference_image_urls", "reference_video_urls", "reference_audio_urls")


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What videos of one combination cost.

    Attributes:
        highest: The highest price of all, in credits.
        last: The price of the last video.
        times: How many videos in a row cost that.
    """

    highest: float
    last: float
    times: int = 1

    @property
    def is_known(self) -> bool:
        """Whether the next video will cost the same, as far as is known."""
        return self.times >= _CONFIRMED

    def after(self, cost: float) -> Price:
        """Return the price after one more video."""
        times = min(self.times + 1, _CONFIRMED) if cost == self.last else 1
        return Price(highest=max(self.highest, cost), last=cost, times=times)


class CreditCounter:
    """A day's credits.

    Args:
        limit: How many credits jobs may use in one UTC day.
    """

    def __init__(self, client: DynamoDBClient, table: str, limit: float) -> None:
        self._client = client
        self._table = table
        self.limit = limit

    def reserve(self, cost: float, *, probe: str | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Count a job that is about to be sent, today.

        Args:
            cost: What it will cost in credits; not more than the limit.
            probe: The attempt, where the job's price is not known: it takes the day's lock as well.

        Returns:
            What the job's record keeps of it (`day`, `credits`, `probe`), and the half of a transaction that raises the
            counter. Its condition is that the limit covers the job, and that the lock is free.
        """
        now = int(time.time())
        reserved: dict[str, Any] = {"day": _today(), "credits": cost}
        write = self._change(reserved, _exact(cost))
        write["ConditionExpression"] = "(attribute_not_exists(spent) OR spent <= :room)"
        write["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        write["ExpressionAttributeValues"][":room"] = {"N": str(_exact(self.limit) - _exact(cost))}
        if probe is None:
            return reserved, write
        write["ConditionExpression"] += f" AND {_LOCK_IS_FREE}"
        write["UpdateExpression"] = "SET expires_at = :expires, probe = :probe, probe_until = :until ADD spent :credits"
        write["ExpressionAttributeValues"] |= {
            ":probe": {"SS": [probe]},
            ":now": {"N": str(now)},
            ":until": {"N": str(now + LONGEST_ATTEMPT_SECONDS)},
        }
        return {**reserved, "probe": probe}, write

    def settle(self, reserved: Mapping[str, Any], cost: float) -> dict[str, Any]:
        """Replace what was reserved for a job with its real cost, and release its lock.

        Returns:
            The `Update` for the transaction, without a condition. A lock that another probe has meanwhile stays.
        """
        write = self._change(reserved, _exact(cost) - _exact(reserved["credits"]))
        if "probe" in reserved:
            # A set, because deleting a missing member of a set is no error.
            write["UpdateExpression"] += " DELETE probe :probe"
            write["ExpressionAttributeValues"][":probe"] = {"SS": [reserved["probe"]]}
        return write

    def probe_of_another(self, attempt: str) -> bool:
        """Whether another attempt has today's lock."""
        key = key_of(f"#credits {_today()}")
        item: Any = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True).get("Item", {})
        counter = from_item(item)
        return is_probed(counter, time.time()) and attempt not in counter["probe"]

    def spent_today(self) -> float:
        """Return what jobs have used today (UTC), with what is reserved for those under way; 0 where nobody counts."""
        item: Any = self._client.get_item(TableName=self._table, Key=key_of(f"#credits {_today()}")).get("Item", {})
        return _number(item["spent"]) if "spent" in item else 0.0

    def price(self, kind: str) -> Price | None:
        """Return what the videos of a combination cost. None: none was paid for in the last 90 days."""
        return self._read(kind)[0]

    def highest(self, model_id: str | None) -> float | None:
        """Return the highest price that a model (None: any) had here in the last 90 days, in credits."""
        price = self.price(_HIGHEST_OF_ALL if model_id is None else _of_model(model_id))
        return price.highest if price else None

    def learn(self, model_id: str, kind: str, cost: float, video_id: str) -> None:
        """Remember what a video of a combination cost. Repeating it for the same video changes nothing."""
        for _ in range(_TRIES):
            known, item = self._read(kind)
            now = known.after(cost) if known else Price(highest=cost, last=cost)
            is_fresh = cost < now.highest or _expiry_of(item) > int(time.time()) + (_PRICE_DAYS_KEPT - 1) * _DAY_SECONDS
            if item.get("video", {}).get("S") == video_id or (now == known and is_fresh):
                return
            for name in (_of_model(model_id), _HIGHEST_OF_ALL):
                self._raise(name, cost)
            if self._replace(kind, item, now, video_id):
                return
            time.sleep(random.uniform(0, 0.1))  # noqa: S311 - it only spreads out

    def _read(self, name: str) -> tuple[Price | None, dict[str, Any]]:
        """Return a price and its item. An expired item that DynamoDB has not deleted yet is ignored."""
        item: Any = self._client.get_item(TableName=self._table, Key=key_of(name), ConsistentRead=True).get("Item", {})
        if "credits" not in item or _expiry_of(item) <= time.time():
            return None, item
        highest = _number(item["credits"])
        # Older versions kept the last price alone.
        last, times = _number(item.get("last", item["credits"])), int(_number(item.get("times", {"N": "1"})))
        return Price(highest=highest, last=last, times=times), item

    def _replace(self, kind: str, seen: Mapping[str, Any], price: Price, video_id: str) -> bool:
        """Write a combination's price, unless somebody else did so since it was read."""
        is_highest = price.last == price.highest
        expires = int(time.time()) + _PRICE_DAYS_KEPT * _DAY_SECONDS if is_highest else _expiry_of(seen)
        item: Any = key_of(kind) | {
            "credits": {"N": str(_exact(price.highest))},
            "last": {"N": str(_exact(price.last))},
            "times": {"N": str(price.times)},
            "video": {"S": video_id},
            "expires_at": {"N": str(expires)},
        }
        condition: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(#video)"}
        if "video" in seen:
            condition = {"ConditionExpression": "#video = :seen", "ExpressionAttributeValues": {":seen": seen["video"]}}
        try:
            self._client.put_item(
                TableName=self._table, Item=item, ExpressionAttributeNames={"#video": "video"}, **condition
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def _raise(self, name: str, cost: float) -> None:
        """Write a price as the highest, unless there is a higher one."""
        now = int(time.time())
        try:
            self._client.update_item(
                TableName=self._table,
                Key=key_of(name),
                UpdateExpression="SET credits = :credits, expires_at = :expires",
                ConditionExpression="attribute_not_exists(credits) OR credits <= :credits OR expires_at <= :now",
                ExpressionAttributeValues={
                    ":credits": {"N": str(_exact(cost))},
                    ":expires": {"N": str(now + _PRICE_DAYS_KEPT * _DAY_SECONDS)},
                    ":now": {"N": str(now)},
                },
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return

    def _change(self, reserved: Mapping[str, Any], difference: Decimal) -> dict[str, Any]:
        return {
            "TableName": self._table,
            "Key": key_of(f"#credits {reserved['day']}"),
            "UpdateExpression": "SET expires_at = :expires ADD spent :credits",
            "ExpressionAttributeValues": {
                ":credits": {"N": str(difference)},
                ":expires": {"N": str(int(time.time()) + _DAYS_KEPT * _DAY_SECONDS)},
            },
        }


def price_kind(model_id: str, request: Mapping[str, Any]) -> str:
    """Return the combination whose videos cost the same, as far as is known: a model, its parameters and its media.

    What cannot change a price is left out, such as the prompt and a `seed`. Of media it counts which there are and how
    many, of a speech its length to within a factor of two.

    Returns:
        The key of the item with their price. No job can have this name.
    """
    asked: list[object] = [_priced(request.get("params")), _priced(request.get("raw_params"))]
    media: dict[str, int] = {name: 1 for name in _MEDIA if request.get(name)}
    media |= {name: len(request[name]) for name in _LISTS_OF_MEDIA if request.get(name)}
    if speech := request.get("speech_text"):
        media["speech_text"] = len(speech).bit_length()
    if media:
        asked.append(media)
    text = json.dumps(asked, sort_keys=True)
    return f"{_of_model(model_id)} {hashlib.sha256(text.encode()).hexdigest()[:16]}"


def is_probed(counter: Mapping[str, Any], now: float) -> bool:
    """Whether an attempt has the lock of a day's counter, as it was read."""
    return bool(counter.get("probe")) and counter["probe_until"] >= int(now)


def _priced(params: object) -> object:
    if not isinstance(params, dict):
        return params
    return {name: value for name, value in params.items() if name not in _FREE_PARAMS}


def _of_model(model_id: str) -> str:
    return f"{_HIGHEST_OF_ALL} {model_id}"


def _today() -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(time.time()))


def _number(attribute: Mapping[str, Any]) -> float:
    return float(attribute["N"])


def _expiry_of(item: Mapping[str, Any]) -> int:
    return int(item["expires_at"]["N"]) if "expires_at" in item else 0


def _exact(number: float) -> Decimal:
    return Decimal(str(number))

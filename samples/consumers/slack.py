"""Write one line into Slack for each notification, in a Lambda function that is subscribed to the topic.

Put an incoming webhook (https://api.slack.com/messaging/webhooks) into a secret, and its ARN into SLACK_WEBHOOK_SECRET:
its address is a password. The role needs secretsmanager:GetSecretValue on it.
"""

import functools
import json
import os
import re
import urllib.request

import boto3

ICONS = {"succeeded": ":clapper:", "on_hold": ":credit_card:", "recipe_invalid": ":scroll:"}


@functools.cache
def webhook() -> str:
    secrets = boto3.client("secretsmanager")
    address = secrets.get_secret_value(SecretId=os.environ["SLACK_WEBHOOK_SECRET"])["SecretString"].strip()
    if not address.startswith("https://hooks.slack.com/"):
        raise ValueError("The secret is no address of an incoming webhook of Slack.")
    return address


def handler(event: dict, context: object) -> None:
    for record in event["Records"]:
        data = json.dumps({"text": line(json.loads(record["Sns"]["Message"]))[:3000]}).encode()
        request = urllib.request.Request(webhook(), data, {"Content-Type": "application/json"})  # noqa: S310 - https
        urllib.request.urlopen(request, timeout=10).close()  # noqa: S310 - as above; after an error, Lambda tries again


def line(notice: dict) -> str:
    error = notice.get("error", {})
    about = plain(notice["source"].get("key") or notice["job_id"])
    lines = [f"{ICONS.get(notice['status'], ':warning:')} `{about}`: {notice['summary']}"]
    lines += [plain(error[part]) for part in ("message", "advice") if part in error]
    if notice["status"] == "succeeded":
        lines.append(plain(f"{notice['video']['bucket']}/{notice['video']['key']}"))
    return "\n".join(lines)


def plain(text: str) -> str:
    # Names of files and Genviral's words may hold lines, links and mentions: https://api.slack.com/reference/surfaces/formatting
    text = "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text).replace("`", "'")
    text = re.sub(r"(?i)(?<![a-z0-9])[a-z][a-z0-9+.-]*:(?=\S)|://|www\.|@", r"[\g<0>]", text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

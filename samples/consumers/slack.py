"""Write one line into Slack for each notification, in a Lambda function that is subscribed to the topic.

Set SLACK_WEBHOOK_URL to an incoming webhook (https://api.slack.com/messaging/webhooks). Its address is a password:
keep it in a secret, not in a template.
"""

import json
import os
import re
import urllib.request

ICONS = {"succeeded": ":clapper:", "on_hold": ":credit_card:", "recipe_invalid": ":scroll:"}


def handler(event: dict, context: object) -> None:
    for record in event["Records"]:
        request = urllib.request.Request(  # noqa: S310 - the address is the operator's own
            os.environ["SLACK_WEBHOOK_URL"],
            data=json.dumps({"text": line(json.loads(record["Sns"]["Message"]))}).encode(),
            headers={"Content-Type": "application/json"},
        )
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

"""Test the local cloud against a hostile web page in a real browser: no attempt may succeed, on any port."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import pytest

from local.cloud import STACK, Cloud
from tests.support.pages import CHROMIUM, TIMEOUT_SECONDS, Site, browser

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.integration

EVIL = "evil.example"
# The page makes each attempt in every way that a page can, and reports what it could read and which sockets opened.
PAGE = """<body><script>
const attempts = %s;
const got = [];
const readable = async (way, attempt, options) => {
  try {
    const answer = await fetch(attempt.url, {method: attempt.method, ...options});
    if (answer.type !== 'opaque') got.push([way, attempt.name, attempt.url, answer.status, await answer.text()]);
  } catch (refused) {}
};
const inFrame = act => new Promise(done => {
  const frame = document.body.appendChild(document.createElement('iframe'));
  frame.name = `frame${document.querySelectorAll('iframe').length}`;
  act(frame);
  frame.onload = done;
  setTimeout(done, 3000);
});
const form = (attempt, enctype) => inFrame(frame => {
  const sent = document.body.appendChild(document.createElement('form'));
  Object.assign(sent, {action: attempt.url, method: 'POST', enctype, target: frame.name});
  const field = sent.appendChild(document.createElement('input'));
  // As text/plain this is `name=value`, here a JSON document with one member more.
  [field.name, field.value] = [attempt.body.replace(/}$/, ', "ignored": "'), '"}'];
  sent.submit();
});
const image = attempt => new Promise(done => {
  const picture = new Image();
  picture.onload = () => { got.push(['image', attempt.name, attempt.url]); done(); };
  picture.onerror = done;
  picture.src = attempt.url;
});
const socket = attempt => new Promise(done => {
  const opened = new WebSocket(attempt.url.replace('http:', 'ws:'));
  opened.onopen = () => { got.push(['socket', attempt.name, attempt.url]); done(); };
  opened.onerror = opened.onclose = done;
});
const kinds = ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data'];
const all = attempt => {
  const body = attempt.body || undefined;
  const method = attempt.method === 'GET' ? 'GET' : 'POST';
  return Promise.all([
    readable('fetch', attempt, {headers: attempt.headers, body}),
    readable('simple fetch', attempt, {headers: {'content-type': 'text/plain'}, body}),
    readable('no-cors fetch', {...attempt, method}, {mode: 'no-cors', body}),
    ...(body ? kinds.map(kind => form(attempt, kind)) : []),
    inFrame(frame => { frame.src = attempt.url; }),
    image(attempt),
    socket(attempt),
  ]);
};
const late = new Promise(done => setTimeout(done, 30000));
const tell = () => fetch('/shown', {method: 'POST', body: JSON.stringify({got})});
Promise.race([Promise.all(attempts.map(all)), late]).then(tell);
</script>"""


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with Cloud(time_scale=0.2, generation_seconds=0.5) as cloud:
        assert httpx.get(f"{cloud.endpoints.api_url}/health", timeout=60).status_code == 200  # a function runs
        yield cloud


def attempts(cloud: Cloud) -> list[dict[str, Any]]:
    """Return the requests that the page tries. They succeed from a terminal. A reset comes last."""
    aws, vendor = cloud.endpoints.aws_endpoint, cloud.endpoints.genviral_admin_url
    assert vendor is not None
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as code:
        code.writestr("app.py", "def handler(event, context):\n    return 'stolen'\n")
    function = {
        "FunctionName": "stolen",
        "Runtime": "python3.13",
        "Handler": "app.handler",
        "Role": "arn:aws:iam::123456789012:role/any",
        "Code": {"ZipFile": base64.b64encode(archive.getvalue()).decode()},
    }
    names = {"FunctionName": resource_of(cloud, "SubmitFunction")}
    secret = {"SecretId": resource_of(cloud, "ApiKeySecret")}
    target = {"content-type": "application/x-amz-json-1.1", "x-amz-target": "secretsmanager.GetSecretValue"}
    video = {"model_id": "bytedance/seedance-2.0", "prompt": "x", "params": {"duration_seconds": 5}}
    key = {"authorization": f"Bearer {cloud.genviral_keys['valid']}"}
    as_json = {"content-type": "application/json"}
    rows = [
        ("create a function", "POST", f"{aws}/2015-03-31/functions", function, as_json),
        ("invoke it", "POST", f"{aws}/2015-03-31/functions/stolen/invocations", {"a": 1}, as_json),
        ("read a function", "GET", f"{aws}/2015-03-31/functions/{names['FunctionName']}", None, {}),
        ("read the key", "POST", f"{aws}/", secret, target),
        ("list buckets", "GET", f"{aws}/", None, {}),
        ("call the API", "POST", f"{cloud.endpoints.api_url}/videos", video, as_json),
        ("read the controls", "GET", f"{vendor}/state", None, {}),
        ("use the controls", "POST", f"{vendor}/credits", {"key": "valid", "credits": 77_777}, as_json),
        ("have a video made", "POST", f"{cloud.endpoints.genviral_url}/studio/videos/generate", video, as_json | key),
        ("reset", "POST", f"{aws}/_ministack/reset", {"init": 1}, as_json),
    ]
    columns = ("name", "method", "url", "body", "headers")
    found = [dict(zip(columns, row, strict=True)) for row in rows]
    return [row | {"body": json.dumps(row["body"]) if row["body"] else ""} for row in found]


def resource_of(cloud: Cloud, name: str) -> str:
    described = cloud.client("cloudformation").describe_stack_resource(StackName=STACK, LogicalResourceId=name)
    found: str = described["StackResourceDetail"]["PhysicalResourceId"]
    return found


def ports(cloud: Cloud) -> set[int]:
    """Return all ports on which the processes of this cloud listen. Other tests' clouds may run beside it."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = {row[9]: int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == "0A"}
    known = {urlsplit(url).port for url in (cloud.endpoints.aws_endpoint, cloud.endpoints.genviral_url)}
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        for child in (task / "children").read_text().split():
            files = [str(descriptor.readlink()) for descriptor in Path(f"/proc/{child}/fd").iterdir()]
            sockets = {file.removeprefix("socket:[").removesuffix("]") for file in files}
            own = {port for socket, port in listening.items() if socket in sockets}
            if own & known:
                found |= own
    assert known < found, "functions have ports, too"
    return found


def seen(cloud: Cloud) -> Any:
    """Return everything that the attempts would change."""
    functions = cloud.client("lambda").list_functions()["Functions"]
    secret = cloud.client("secretsmanager").get_secret_value(SecretId=resource_of(cloud, "ApiKeySecret"))
    table = cloud.client("dynamodb").scan(TableName=cloud.endpoints.jobs_table)["Items"]
    return [
        sorted(function["FunctionName"] for function in functions),
        secret["SecretString"],
        [bucket["Name"] for bucket in cloud.client("s3").list_buckets()["Buckets"]],
        table,
        httpx.get(f"{cloud.endpoints.genviral_admin_url}/state").json(),
        httpx.get(f"{cloud.endpoints.api_url}/health", timeout=60).json(),
        cloud.failed_starts,
    ]


FOREIGN = [{"Host": EVIL}, {"Origin": f"https://{EVIL}"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_every_port_refuses_before_it_parses(cloud: Cloud, headers: dict[str, str]) -> None:
    for port in ports(cloud):
        for method, path in (
            ("GET", "/"),
            ("POST", "/2018-06-01/runtime/init/error"),
            ("OPTIONS", "/any"),
            ("PUT", "/b"),
        ):
            answer = httpx.request(method, f"http://127.0.0.1:{port}{path}", headers=headers, content=b"{not JSON")
            assert answer.status_code == 403
            assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_a_page_gets_nothing_on_any_port_and_a_terminal_gets_all(cloud: Cloud, tmp_path: Path) -> None:
    if CHROMIUM is None or not Path("/proc/self/task").is_dir():
        pytest.skip("no Chromium is installed, or there is no /proc to list the ports")
    tried = attempts(cloud)
    before = seen(cloud)
    body = json.dumps({"errorType": "Stolen", "errorMessage": "x"})
    raw = [
        {"name": f"port {port}", "method": "POST", "url": f"http://127.0.0.1:{port}{path}", "body": body, "headers": {}}
        for port in sorted(ports(cloud))
        for path in ("/", "/2018-06-01/runtime/init/error")
    ]
    everywhere = [
        attempt | {"url": attempt["url"].replace("127.0.0.1", host)}
        for attempt in tried + raw
        for host in ("127.0.0.1", "localhost", EVIL)
    ]
    site = Site(PAGE % json.dumps(everywhere))
    try:
        # Another port of this machine, another site, and a name that was made to point to this machine.
        for number, origin in enumerate((site.origin, f"http://localhost:{site.port}", f"http://{EVIL}:{site.port}")):
            with browser(f"{origin}/", tmp_path / str(number), f"--host-resolver-rules=MAP {EVIL} 127.0.0.1"):
                assert site.shown.get(timeout=TIMEOUT_SECONDS) == {"got": []}
    finally:
        site.close()
    assert seen(cloud) == before
    for attempt in tried:  # the reset comes last, and with it the end of this cloud
        answer = httpx.request(
            attempt["method"], attempt["url"], content=attempt["body"], headers=attempt["headers"], timeout=60
        )
        assert answer.is_success, (attempt["name"], answer.status_code, answer.text)
        assert "access-control-allow-origin" not in answer.headers

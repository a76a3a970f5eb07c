"""Ask for a video and wait for it, with a typed client that is generated from docs/openapi.json:

openapi-python-client generate --path docs/openapi.json --meta none --output-path genviral_video
API_URL=… AWS_REGION=… python ask.py ORDER_NUMBER "A paper boat on a calm lake"

Repeat the command with the same number and words after a crash: it is the same job, paid once. Exits with 0 only if
there is a video.
"""

import os
import sys
import time
from types import ModuleType

import httpx
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.session import Session
from genviral_video import Client
from genviral_video.api.default import get_video, post_video
from genviral_video.models import Accepted, Job, JobStatus, VideoRequest

ENDED = {JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELED, JobStatus.UNCERTAIN, JobStatus.TIMED_OUT}


class Signature(httpx.Auth):
    requires_request_body = True

    def auth_flow(self, request: httpx.Request):
        signed = AWSRequest(request.method, str(request.url), data=request.content)
        SigV4Auth(Session().get_credentials(), "execute-api", os.environ["AWS_REGION"]).add_auth(signed)
        request.headers.update(dict(signed.headers))
        yield request


client = Client(base_url=os.environ["API_URL"], httpx_args={"auth": Signature()})


def ask(call: ModuleType, *path: str, **request: object) -> Accepted | Job:
    while True:
        try:
            answer = call.sync_detailed(*path, client=client, **request)
        except (httpx.TransportError, LookupError, TypeError, ValueError) as error:  # no answer, or not of this API
            print(f"Asking again after {type(error).__name__}.", file=sys.stderr)
        else:
            if isinstance(answer.parsed, Accepted | Job):
                return answer.parsed
            if 400 <= answer.status_code < 500 and answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
                sys.exit(answer.content.decode(errors="replace"))
            print(f"Asking again after {answer.status_code}.", file=sys.stderr)
        time.sleep(2)


_, key, prompt = sys.argv
body = VideoRequest(model_id="bytedance/seedance-2.0", prompt=prompt)
job = ask(post_video, body=body, idempotency_key=key)
while not (isinstance(job, Job) and job.status in ENDED):
    time.sleep(2)
    job = ask(get_video, job.job_id)
print(job)
sys.exit(job.status != JobStatus.SUCCEEDED)

"""Ask for a video and wait for it, with a typed client that is generated from docs/openapi.json:

openapi-python-client generate --path docs/openapi.json --meta none --output-path genviral_video
API_URL=… AWS_REGION=… python ask.py "A paper boat on a calm lake"
"""

import os
import sys
import time
import uuid

import httpx
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.session import Session
from genviral_video import Client
from genviral_video.api.default import get_video, post_video
from genviral_video.models import Accepted, Job, JobStatus, VideoRequest

OPEN = {JobStatus.QUEUED, JobStatus.PROCESSING, JobStatus.DELIVERING, JobStatus.ON_HOLD, JobStatus.INTERRUPTED}


class Signature(httpx.Auth):
    requires_request_body = True

    def auth_flow(self, request: httpx.Request):
        signed = AWSRequest(request.method, str(request.url), data=request.content)
        SigV4Auth(Session().get_credentials(), "execute-api", os.environ["AWS_REGION"]).add_auth(signed)
        request.headers.update(dict(signed.headers))
        yield request


client = Client(base_url=os.environ["API_URL"], httpx_args={"auth": Signature()})
key = uuid.uuid4().hex  # keep it with your order: a repeat with the same key and body is the same job, paid once
request = VideoRequest(model_id="bytedance/seedance-2.0", prompt=sys.argv[1])
accepted = post_video.sync(client=client, body=request, idempotency_key=key)
if not isinstance(accepted, Accepted):
    sys.exit(str(accepted))
while isinstance(job := get_video.sync(accepted.job_id, client=client), Job) and job.status in OPEN:
    time.sleep(2)
print(job)

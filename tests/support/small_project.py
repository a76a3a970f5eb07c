"""Write a small project for the AWS stand-in: one state machine, and one function that does what its event says."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

HANDLER = """
import json, os, sys, time

class NotEnough(Exception):
    pass

def handler(event, context):
    print("handling", event.get("do", "an event"))
    if "rawPath" in event:
        return {"statusCode": 202, "body": json.dumps([event["rawPath"], event["pathParameters"], event["body"]])}
    return globals()[event.get("do", "keep")](event, context)

def echo(event, context):
    return event

def fail(event, context):
    raise NotEnough("need 5, have 1")

def leave(event, context):
    os._exit(7)

def sleep(event, context):
    time.sleep(event["seconds"])
    return {"pid": os.getpid()}

def outage(event, context):
    import boto3
    table = boto3.client("dynamodb")
    if "Item" not in table.get_item(TableName=os.environ["TABLE"], Key={"id": {"S": event["until"]}}):
        raise LookupError(event["until"])
    return event

def inspect(event, context):
    import importlib.util
    names = ("boto3", "httpx", "pydantic", "shared", "moto", "ministack")
    return {
        "found": [name for name in names if importlib.util.find_spec(name)],
        "environment": dict(os.environ), "memory": context.memory_limit_in_mb,
        "left": context.get_remaining_time_in_millis(), "trace": os.environ.get("_X_AMZN_TRACE_ID"),
        "arn": context.invoked_function_arn, "request": context.aws_request_id,
    }

def keep(event, context):
    import boto3
    name = event.get("detail", {}).get("name") or event["detail"]["object"]["key"]
    note = f"{event['detail-type']}|{name}|{event['detail'].get('status', '')}"
    if event["detail"].get("redriveCount"):
        note += f"|{event['detail']['redriveCount']}|{event['detail']['redriveStatus']}"
    boto3.client("dynamodb").put_item(TableName=os.environ["TABLE"], Item={"id": {"S": note}})
"""

DEFINITION = """
StartAt: Call
States:
  Call:
    Type: Task
    Resource: arn:aws:states:::lambda:invoke
    Parameters: {FunctionName: '${ProbeArn}', Payload.$: $}
    OutputPath: $.Payload
    TimeoutSeconds: ${Limit}
    Retry:
      - ErrorEquals: [Sandbox.Timedout]
        MaxAttempts: 1
        IntervalSeconds: 100
    Catch:
      - ErrorEquals: [NotEnough]
        ResultPath: $.error
        Next: Refused
    Next: Rest
  Rest:
    Type: Wait
    Seconds: 100
    End: true
  Refused: {Type: Fail, ErrorPath: $.error.Error, CausePath: $.error.Cause}
"""

TEMPLATE = """
Transform: AWS::Serverless-2016-10-31
Parameters:
  GenviralBaseUrl: {Type: String}
  Limit: {Type: Number, Default: 20}
Globals:
  Function:
    Runtime: python3.13
    Architectures: [arm64]
    Handler: app.handler
    CodeUri: code/
    Timeout: 2
    MemorySize: 512
    Tracing: Active
    Layers: [!Ref Layer]
    Environment: {Variables: {TABLE: !Ref Jobs, SECRET: !Ref Key, VENDOR: !Ref GenviralBaseUrl}}
Resources:
  Layer: {Type: AWS::Serverless::LayerVersion, Properties: {ContentUri: code/}}
  Jobs:
    Type: AWS::DynamoDB::Table
    Properties:
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{AttributeName: id, AttributeType: S}]
      KeySchema: [{AttributeName: id, KeyType: HASH}]
  Uploads:
    Type: AWS::S3::Bucket
    Properties: {NotificationConfiguration: {EventBridgeConfiguration: {EventBridgeEnabled: true}}}
  Key: {Type: AWS::SecretsManager::Secret, Properties: {SecretString: not-set}}
  Topic: {Type: AWS::SNS::Topic}
  Probe:
    Type: AWS::Serverless::Function
    Properties:
      FunctionName: probe
      Events:
        Upload:
          Type: EventBridgeRule
          Properties: {Pattern: {source: [aws.s3], detail: {object: {key: [{prefix: in/}]}}}}
        Ended:
          Type: EventBridgeRule
          Properties: {Pattern: {source: [aws.states], detail: {status: [RUNNING, SUCCEEDED, FAILED, ABORTED]}}}
  Broken: {Type: AWS::Serverless::Function, Properties: {FunctionName: broken, Handler: nowhere.handler}}
  Leveled: {Type: AWS::Serverless::Function, Properties: {FunctionName: leveled, LoggingConfig: {LogFormat: JSON}}}
  Machine:
    Type: AWS::Serverless::StateMachine
    Properties:
      DefinitionUri: machine.asl.yaml
      DefinitionSubstitutions: {ProbeArn: !GetAtt Probe.Arn, Limit: !Ref Limit}
      Policies: [{LambdaInvokePolicy: {FunctionName: !Ref Probe}}]
  Api: {Type: AWS::ApiGatewayV2::Api, Properties: {Name: api, ProtocolType: HTTP}}
  Stage: {Type: AWS::ApiGatewayV2::Stage, Properties: {ApiId: !Ref Api, StageName: $default, AutoDeploy: true}}
  Integration:
    Type: AWS::ApiGatewayV2::Integration
    Properties:
      ApiId: !Ref Api
      IntegrationType: AWS_PROXY
      IntegrationUri: !GetAtt Probe.Arn
      PayloadFormatVersion: '2.0'
  Route:
    Type: AWS::ApiGatewayV2::Route
    Properties:
      ApiId: !Ref Api
      RouteKey: POST /videos/{job_id}
      Target: !Sub integrations/${Integration}
      AuthorizationType: AWS_IAM
Outputs:
  ApiUrl: {Value: !GetAtt Api.ApiEndpoint}
  UploadsBucket: {Value: !Ref Uploads}
  VideosBucket: {Value: !Ref Uploads}
  JobsTable: {Value: !Ref Jobs}
  TopicArn: {Value: !Ref Topic}
  StateMachineArn: {Value: !Ref Machine}
  ApiKeySecretArn: {Value: !Ref Key}
"""


def write_project(folder: Path, definition: str = DEFINITION) -> Path:
    (folder / "code").mkdir()
    (folder / "code" / "app.py").write_text(HANDLER)
    (folder / "machine.asl.yaml").write_text(definition)
    template = folder / "template.yaml"
    template.write_text(TEMPLATE)
    return template

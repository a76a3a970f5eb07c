# The stack as a part of a CDK app. First: make package BUCKET=… (it leaves build/package.json)
import aws_cdk as cdk
from aws_cdk import cloudformation_include as include

app = cdk.App()
stack = cdk.Stack(app, "genviral-video")
video = include.CfnInclude(
    stack, "Video", template_file="../../build/package.json", parameters={"Monitoring": "essential"}
)
cdk.CfnOutput(stack, "Uploads", value=video.get_resource("UploadsBucket").ref)
app.synth()

# The stack as a part of a Terraform configuration. First: make package BUCKET=… (it prints the template's address, which
# is another one for each version: Terraform updates the stack only if it changes)
variable "template_url" { type = string }

resource "aws_cloudformation_stack" "genviral_video" {
  name         = "genviral-video"
  template_url = var.template_url
  capabilities = ["CAPABILITY_IAM"]
  parameters   = { Monitoring = "essential" }
}

output "uploads_bucket" { value = aws_cloudformation_stack.genviral_video.outputs["UploadsBucket"] }

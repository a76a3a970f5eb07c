"""Stand in for AWS: one process that answers AWS API calls and runs the deployed functions.

Three real parts do the work: MiniStack answers the APIs, awslambdaric runs the handlers, moto's interpreter runs the
state machine. The modules here only connect them. They must not know this project's template, functions or vendor.

- `pins`: the versions that the patches below were written for
- `asl`, `engine`, `interpreter`: a definition, the engine that runs it, and the same engine without sockets for tests
- `runtime_api`: one Lambda execution environment, that is, a process and the Runtime API that it calls
- `pure`: a client of the Runtime API, for machines on which awslambdaric has none
- `*_patch`: replacements and corrections of parts of MiniStack; `web_patch` refuses requests of web pages
- `__main__`: the process
"""

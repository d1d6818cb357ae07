"""What follows never ends, so nobody waits for it here; and of the commands that come by chance none is run."""

import schemathesis


@schemathesis.hook
def filter_case(ctx, case):
    return (case.query or {}).get("follow") not in (True, "true", ["true"], [True])


@schemathesis.hook
def before_call(ctx, case, kwargs):
    command = case.body.get("command") if isinstance(case.body, dict) else None
    if case.path == "/v1/run" and isinstance(command, list) and command and all(isinstance(word, str) for word in command):
        command[:] = ["true"]

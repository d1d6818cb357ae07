"""The web process of the textbook Procfile: takes a job by HTTP, hands it to celery, tells its result."""

from celery.result import AsyncResult

import tasks


async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    status, text = answer(scope["method"], scope["path"].strip("/").split("/"))
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": text.encode()})


def answer(method, path):
    match method, path:
        case "POST", ["square", n]:
            return 202, tasks.square.delay(int(n)).id
        case "POST", ["slow-square", n]:
            return 202, tasks.slow_square.delay(int(n)).id
        case "GET", ["result", id]:
            result = AsyncResult(id, app=tasks.app)
            return 200, f"{result.state} {result.result}"
    return 404, "not found"

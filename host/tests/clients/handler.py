"""A handler that sends a request through `wasi:http/outgoing-handler`, whose bindings componentize-py makes."""

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import config, log, outgoing_handler
from wit_world.imports.streams import StreamError_Closed
from wit_world.imports.wasi_http_types import Fields, Method_Get, OutgoingRequest, Scheme_Http


def get(authority, path):
    request = OutgoingRequest(Fields())
    request.set_method(Method_Get())
    request.set_scheme(Scheme_Http())
    request.set_authority(authority)
    request.set_path_with_query(path)
    with outgoing_handler.handle(request, None) as future:
        with future.subscribe() as ready:
            ready.block()
        with future.get().value.value as response, response.consume() as incoming, incoming.stream() as stream:
            return response.status(), read(stream)


def read(stream):
    body = b""
    while True:
        try:
            body += stream.blocking_read(65536)
        except Err as error:
            if isinstance(error.value, StreamError_Closed):
                return body
            raise


class Handler(exports.Handler):
    def handle(self, event, context):
        status, body = get(config.get("authority"), f"/python?subject={event.subject}")
        log.log(log.Level.INFO, f"{status} {body.decode()}")
        return []

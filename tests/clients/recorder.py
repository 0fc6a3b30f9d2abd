"""A proxy that passes everything on to a server and keeps what was asked: which client sends which fields."""
import http.client
import http.server
import json
import threading
import urllib.parse


class Recorder:
    """`url` is what a client is pointed at; `requests` are (method, path, body, status), the body as JSON where it is."""

    def __init__(self, server_url):
        self.requests = []
        target = urllib.parse.urlsplit(server_url)
        recorder = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def handle_any(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                connection = http.client.HTTPConnection(target.hostname, target.port, timeout=1800)
                headers = {k: v for k, v in self.headers.items() if k.lower() not in ["host", "connection", "accept-encoding"]}
                try:
                    connection.request(self.command, self.path, body or None, headers)
                    response = connection.getresponse()
                    recorder.keep(self.command, self.path, body, response.status)
                    self.send_response(response.status)
                    for name, value in response.getheaders():
                        if name.lower() not in ["transfer-encoding", "content-length", "connection", "date", "server"]:
                            self.send_header(name, value)
                    self.send_header("Connection", "close")
                    self.end_headers()
                    while piece := response.read1(65536):
                        self.wfile.write(piece)
                        self.wfile.flush()
                except OSError:
                    pass  # the client has gone, or the server: either side sees it
                finally:
                    connection.close()
                    self.close_connection = True

            do_GET = do_POST = do_DELETE = do_HEAD = do_OPTIONS = do_PUT = do_PATCH = handle_any

        self.listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.listener.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.listener.server_address[1]}"
        threading.Thread(target=self.listener.serve_forever, daemon=True).start()

    def keep(self, method, path, body, status):
        try:
            body = json.loads(body) if body else None
        except ValueError:
            body = body.decode(errors="replace")
        self.requests.append((method, path, body, status))

    def end(self):
        self.listener.shutdown()
        self.listener.server_close()

    def fields(self):
        """{path: {field: the first value that was sent}}, fields of messages, tools and the like by their paths."""
        found = {}
        for _, path, body, _ in self.requests:
            if isinstance(body, dict):
                for field, value in flat(body):
                    found.setdefault(path.split("?")[0], {}).setdefault(field, value)
        return found


DEEP = ["messages", "input", "tools", "system", "thinking", "reasoning", "stream_options", "output_config", "text", "metadata",
        "context_management", "client_metadata"]


def flat(body):
    for key, value in body.items():
        if key not in DEEP or not isinstance(value, (dict, list)):
            yield key, value
        for entry in value if isinstance(value, list) else [value]:
            if key in DEEP and isinstance(entry, dict):
                name = key + ("[]" if isinstance(value, list) else "")
                for inner, content in entry.items():
                    yield f"{name}.{inner}", content
                    if inner in ["content", "function"]:
                        for part in content if isinstance(content, list) else [content]:
                            if isinstance(part, dict):
                                for k, v in part.items():
                                    yield f"{name}.{inner}{'[]' if isinstance(content, list) else ''}.{k}", v

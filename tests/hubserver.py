"""A small Hugging Face hub on loopback: one repository, served as the clients ask for it."""

import hashlib
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def serve(repository: str, folder: Path):
    """Serve a folder as `repository`; gives the address and the list of paths asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self._answer(send=False)

        def do_GET(self):
            self._answer(send=True)

        def _answer(self, *, send):
            prefix = f"/{repository}/resolve/"
            revision, _, name = self.path.removeprefix(prefix).partition("/")
            asked.append(name)
            if not self.path.startswith(prefix):
                return self._refuse("RepoNotFound")
            if revision not in ("main", COMMIT):
                return self._refuse("RevisionNotFound")
            if not (folder / name).is_file():
                return self._refuse("EntryNotFound")
            data = (folder / name).read_bytes()
            self.send_response(200)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{hashlib.sha1(data).hexdigest()}"')
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if send:
                self.wfile.write(data)
            return None

        def _refuse(self, code):
            self.send_response(404)
            self.send_header("X-Error-Code", code)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()

"""CaptainsIntent counts the Docker captains on a web page."""
import json
import os
import signal
import socketserver
import threading
import urllib.request
from html.parser import HTMLParser

URL = os.environ.get("URL", "https://www.docker.com/community/captains/")
CLASS = os.environ.get("CLASS", "captain")


class Counter(HTMLParser):
    """Counts the elements of one class."""

    count = 0

    def handle_starttag(self, tag, attrs):
        if CLASS in (dict(attrs).get("class") or "").split():
            self.count += 1


def captains(session, request, version):
    with urllib.request.urlopen(URL, timeout=5) as page:
        counter = Counter()
        counter.feed(page.read().decode("utf-8", "replace"))
    return {
        "version": version,
        "response": {
            "outputSpeech": {"type": "PlainText", "text": f"There are {counter.count} Docker captains"},
            "shouldEndSession": True,
        },
    }


class Call(socketserver.StreamRequestHandler):
    def handle(self):
        try:
            reply = captains(**json.loads(self.rfile.read()))  # reads until the caller has closed its half
        except TypeError as err:  # other members than the arguments: no retry can help
            reply = {"funkerError": {"message": str(err), "retry": False}}
        except Exception as err:
            reply = {"funkerError": {"message": str(err)}}
        self.wfile.write(json.dumps(reply).encode())


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True  # server_close waits for the calls that run


if __name__ == "__main__":
    with Server(("", 9999), Call) as server:
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
        server.serve_forever()

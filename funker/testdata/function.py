"""A function in Python, with nothing but its standard library.

python3 function.py once|many: prints its port, answers one call or all.
"""
import json
import os
import socketserver
import sys

DEEDS = {
    "greet": lambda request: {"hello": "Grüße, %s 😀" % request["name"]},
    "nothing": lambda request: None,
    "large": lambda request: "ü" * request["size"],
    "fail": lambda request: {"funkerError": {"message": "no such city", "retry": False, "retryAfter": 1.5}},
}


class Call(socketserver.StreamRequestHandler):
    def handle(self):
        try:
            request = json.loads(self.rfile.read().decode("utf-8"))
        except ValueError:
            os._exit(1)
        reply = DEEDS[request["do"]](request)
        self.wfile.write(json.dumps(reply).encode("utf-8"))


class Server(socketserver.ThreadingTCPServer):
    request_queue_size = 64


once = sys.argv[1] == "once"
with (socketserver.TCPServer if once else Server)(("127.0.0.1", 0), Call) as server:
    print(server.server_address[1], flush=True)
    if once:
        server.handle_request()
    else:
        server.serve_forever()

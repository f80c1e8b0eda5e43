"""A caller in Python, with nothing but its standard library.

python3 call.py PORT REQUEST: prints the reply, encoded anew.
"""
import json
import socket
import sys

port, request = sys.argv[1:]
with socket.create_connection(("127.0.0.1", int(port))) as connection:
    connection.sendall(json.dumps(json.loads(request)).encode("utf-8"))
    connection.shutdown(socket.SHUT_WR)
    parts = []
    while part := connection.recv(4096):
        parts.append(part)
reply = json.loads(b"".join(parts).decode("utf-8"))
sys.stdout.write(json.dumps(reply, separators=(",", ":")))

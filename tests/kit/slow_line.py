"""A slow line to a broker: between two of a client's MQTT packets others have time to do much."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable


class SlowLine:
    """Forwards connections to `port`, a client's packets with a pause before each but the first."""

    def __init__(self, host: str, port: int, pause_s: float = 0.05) -> None:
        self._broker = (host, port)
        self._pause_s = pause_s
        self._listening = socket.create_server((host, 0))
        self.port = int(self._listening.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no further connection."""
        self._listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                try:
                    broker = socket.create_connection(self._broker)
                except OSError:
                    client.close()
                    continue
                threading.Thread(target=self._up, args=(client, broker), daemon=True).start()
                threading.Thread(target=self._down, args=(broker, client), daemon=True).start()

    def _up(self, client: socket.socket, broker: socket.socket) -> None:
        with contextlib.suppress(OSError), client, broker, client.makefile("rb") as stream:
            while packet := _packet(stream.read):
                broker.sendall(packet)
                time.sleep(self._pause_s)

    def _down(self, broker: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client, broker:
            while data := broker.recv(65536):
                client.sendall(data)


def _packet(read: Callable[[int], bytes]) -> bytes:
    """Return the next whole TLS record (RFC 8446, section 5.1), in which paho sends one packet; empty at the end."""
    head = read(5)
    return head + read(int.from_bytes(head[3:])) if len(head) == 5 else b""

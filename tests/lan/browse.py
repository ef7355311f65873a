"""An independent peer for `.ci/lan`: watches for gateways with python-zeroconf, and prints one line of JSON for each event.

    browse.py ADDRESS SECONDS      on the interface that has this address, for so long
"""

import json
import sys
import time

from zeroconf import IPVersion, ServiceBrowser, Zeroconf

TYPE = "_openclaw-gw._tcp.local."
STARTED = time.monotonic()


def say(event, name, **more):
    print(json.dumps({"event": event, "name": name, "at": round(time.monotonic() - STARTED, 2), **more}), flush=True)


class Listener:
    def add_service(self, network, kind, name):
        info = network.get_service_info(kind, name, timeout=3000)
        if info is None:
            return say("unresolved", name)
        say(
            "added",
            name,
            host=info.server,
            port=info.port,
            addresses=sorted(info.parsed_addresses()),
            txt={key.decode(): (value or b"").decode() for key, value in info.properties.items()},
        )

    def update_service(self, network, kind, name):
        say("updated", name)

    def remove_service(self, network, kind, name):
        say("removed", name)


def main():
    address, seconds = sys.argv[1], float(sys.argv[2])
    network = Zeroconf(interfaces=[address], ip_version=IPVersion.V4Only)
    ServiceBrowser(network, TYPE, Listener())
    time.sleep(seconds)
    network.close()


main()

"""Reads a feed with PyPI's `httpx-sse`, and reconnects with Last-Event-ID. One line of JSON for each event, and one for
the end. Argument: the feed's URL."""

import json
import sys
import time

import httpx
from httpx_sse import connect_sse

url = sys.argv[1]
last = None
with httpx.Client(trust_env=False, timeout=httpx.Timeout(5, read=30)) as client:
    while True:
        try:
            headers = {} if last is None else {"Last-Event-ID": last}
            with connect_sse(client, "GET", url, headers=headers) as source:
                if source.response.status_code == 204:
                    print(json.dumps({"closed": 204}), flush=True)
                    sys.exit(0)
                source.response.raise_for_status()
                for event in source.iter_sse():
                    last = event.id
                    # A keep-alive moves the cursor, and httpx-sse passes it on as an event without data.
                    if event.data:
                        print(json.dumps({"id": event.id, "type": event.event, "data": event.data}), flush=True)
        except httpx.HTTPError:
            # The connection broke, or there is no server now.
            pass
        time.sleep(0.02)

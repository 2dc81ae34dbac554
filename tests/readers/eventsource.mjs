// Reads a feed with the npm package `eventsource`, which reconnects by itself. One line of JSON for each event, and
// one for the end. Arguments: the feed's URL, the types to listen to.
import { EventSource } from "eventsource";

const [url, types] = process.argv.slice(2);
const source = new EventSource(url);
const tell = (event) => {
  process.stdout.write(JSON.stringify({ id: event.lastEventId, type: event.type, data: event.data }) + "\n");
};
for (const type of types.split(",")) source.addEventListener(type, tell);
source.onmessage = tell;
source.onerror = (error) => {
  if (source.readyState === EventSource.CLOSED) {
    process.stdout.write(JSON.stringify({ closed: error.code ?? null }) + "\n");
    process.exit(0);
  }
};

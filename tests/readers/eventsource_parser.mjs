// Reads a feed with fetch and the npm package `eventsource-parser`, and reconnects with Last-Event-ID. One line of JSON
// for each event, and one for the end. Argument: the feed's URL.
import { createParser } from "eventsource-parser";

const url = process.argv[2];
let last;
for (;;) {
  try {
    const headers = { accept: "text/event-stream" };
    if (last !== undefined) headers["last-event-id"] = last;
    const response = await fetch(url, { headers });
    if (response.status === 204) {
      process.stdout.write(JSON.stringify({ closed: 204 }) + "\n");
      process.exit(0);
    }
    if (response.status === 200) {
      const parser = createParser({
        onEvent: (event) => {
          last = event.id;
          process.stdout.write(JSON.stringify({ id: event.id, type: event.event, data: event.data }) + "\n");
        },
      });
      const decoder = new TextDecoder();
      for await (const chunk of response.body) parser.feed(decoder.decode(chunk, { stream: true }));
    }
  } catch {
    // The connection broke, or there is no server now.
  }
  await new Promise((again) => setTimeout(again, 20));
}

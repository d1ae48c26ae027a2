// The server's answer while it comes: an Int16Array for each piece of audio, an object for each word.

export function read(response) {
  const kind = response.headers.get("Content-Type");
  return kind.startsWith("audio/wav") ? readWav(response.body) : readEvents(response.body);
}

async function* readEvents(body) {
  const decoder = new TextDecoder();
  let text = "";
  for await (const bytes of chunks(body)) {
    text += decoder.decode(bytes, { stream: true });
    const blocks = text.split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const event = JSON.parse(block.slice("data: ".length));
      if (event.type === "error") throw new Error(event.error.message);
      if (event.type === "speech.word") yield event;
      if (event.type === "speech.audio.delta") {
        const audio = Uint8Array.from(atob(event.audio), (letter) => letter.charCodeAt(0));
        yield new Int16Array(audio.buffer);
      }
    }
  }
}

async function* readWav(body) {
  let skip = 44; // bytes of the header
  let rest = new Uint8Array(0);
  for await (const bytes of chunks(body)) {
    const data = new Uint8Array(rest.length + bytes.length);
    data.set(rest);
    data.set(bytes, rest.length);
    const first = Math.min(skip, data.length);
    skip -= first;
    const whole = first + 2 * Math.floor((data.length - first) / 2);
    rest = data.slice(whole);
    yield new Int16Array(data.slice(first, whole).buffer);
  }
}

async function* chunks(body) {
  const reader = body.getReader(); // Safari cannot iterate over a body
  while (true) {
    const { done, value } = await reader.read();
    if (done) return;
    yield value;
  }
}

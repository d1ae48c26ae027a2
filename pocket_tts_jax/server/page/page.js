// Speaks a text through /v1/audio/speech and plays the samples as they come.
// Each piece is an AudioBuffer with a time of its own: AudioWorklet needs https, which a phone in
// a home network does not have.

const element = (id) => document.getElementById(id);
const SLICE = 960; // samples of a bar in the waveform: 40 ms
const LEAD_SECONDS = 0.06; // between the first samples and their sound
let rate = 24000;
let longest = Infinity;
let running = null; // what is spoken now

class Speech {
  constructor() {
    this.abort = new AbortController();
    this.context = new AudioContext();
    this.sources = new Set();
    this.pieces = []; // Int16Array
    this.peaks = []; // of each slice
    this.samples = 0;
    this.start = null; // the context's time of the first sample
    this.asked = performance.now();
  }

  get seconds() {
    return this.samples / rate;
  }

  get played() {
    if (this.start === null) return 0;
    return Math.min(this.seconds, Math.max(0, this.context.currentTime - this.start));
  }

  add(integers) {
    if (integers.length === 0) return;
    const now = this.context.currentTime;
    if (this.start === null) {
      this.start = now + LEAD_SECONDS;
      show("first", `${Math.round(performance.now() - this.asked)} ms`);
      setState("speaking", "Speaking");
    }
    let at = this.start + this.seconds;
    if (at < now) { // the samples came too late: what follows moves back
      this.start += now + LEAD_SECONDS - at;
      at = now + LEAD_SECONDS;
    }
    const buffer = this.context.createBuffer(1, integers.length, rate);
    const channel = buffer.getChannelData(0);
    for (let i = 0; i < integers.length; i++) {
      channel[i] = integers[i] / 32767;
      const slice = Math.floor((this.samples + i) / SLICE);
      this.peaks[slice] = Math.max(this.peaks[slice] ?? 0, Math.abs(channel[i]));
    }
    const source = new AudioBufferSourceNode(this.context, { buffer });
    source.connect(this.context.destination);
    source.start(at);
    this.sources.add(source);
    source.onended = () => this.sources.delete(source);
    this.pieces.push(integers);
    this.samples += integers.length;
    show("length", `${this.seconds.toFixed(1)} s`);
    show("factor", `${(this.seconds / this.elapsed()).toFixed(1)} ×`);
  }

  elapsed() {
    return (performance.now() - this.asked) / 1000;
  }

  end() {
    this.abort.abort();
    for (const source of this.sources) source.stop();
    this.sources.clear();
    this.context.close();
  }

  wav() {
    const header = new DataView(new ArrayBuffer(44));
    const text = (at, letters) =>
      [...letters].forEach((letter, i) => header.setUint8(at + i, letter.charCodeAt(0)));
    text(0, "RIFF");
    header.setUint32(4, 36 + 2 * this.samples, true);
    text(8, "WAVEfmt ");
    header.setUint32(16, 16, true);
    header.setUint16(20, 1, true);
    header.setUint16(22, 1, true);
    header.setUint32(24, rate, true);
    header.setUint32(28, 2 * rate, true);
    header.setUint16(32, 2, true);
    header.setUint16(34, 16, true);
    text(36, "data");
    header.setUint32(40, 2 * this.samples, true);
    return new Blob([header, ...this.pieces], { type: "audio/wav" });
  }
}

function show(id, text) {
  element(id).textContent = text;
}

function setState(state, text) {
  document.body.dataset.state = state;
  show("status", text);
  const busy = state === "waiting" || state === "speaking" || state === "playing";
  element("stop").disabled = !busy;
}

function showError(message) {
  show("error", message);
  element("error").hidden = false;
  setState("error", "Not spoken");
}

function headers() {
  const key = sessionStorage.getItem("key");
  return key ? { Authorization: `Bearer ${key}` } : {};
}

async function ask(path, options = {}) {
  const response = await fetch(path, { ...options, headers: { ...headers(), ...options.headers } });
  if (response.ok) return response;
  if (response.status === 401) {
    element("key-field").hidden = false;
    element("key").focus();
  }
  const body = await response.json().catch(() => ({}));
  const told = body.error?.message ?? body.detail ?? `The server answered ${response.status}.`;
  const later = response.headers.get("Retry-After");
  throw new Error(later ? `${told} (in ${later} s)` : told);
}

function request(signal) {
  const recording = element("recording").files[0];
  const text = element("text").value;
  if (recording) {
    const body = new FormData();
    body.set("text", text);
    body.set("voice_wav", recording);
    return ask("/tts", { method: "POST", body, signal });
  }
  const body = {
    input: text,
    model: element("model").value || undefined,
    voice: element("voice").value || undefined,
    speed: Number(element("speed").value),
    response_format: "pcm",
    early_start: true,
  };
  return ask("/v1/audio/speech", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });
}

async function speak() {
  stop();
  element("error").hidden = true;
  ["first", "factor", "length"].forEach((id) => show(id, "–"));
  disableDownload();
  const speech = (running = new Speech());
  setState("waiting", "Waiting for the first samples");
  try {
    await speech.context.resume();
    const response = await request(speech.abort.signal);
    let skip = response.headers.get("Content-Type").startsWith("audio/wav") ? 44 : 0;
    let rest = new Uint8Array(0);
    for await (const bytes of chunks(response.body)) {
      const data = new Uint8Array(rest.length + bytes.length);
      data.set(rest);
      data.set(bytes, rest.length);
      const first = Math.min(skip, data.length);
      skip -= first;
      const whole = first + 2 * Math.floor((data.length - first) / 2);
      rest = data.slice(whole);
      speech.add(new Int16Array(data.slice(first, whole).buffer));
    }
    if (running !== speech) return;
    show("factor", `${(speech.seconds / speech.elapsed()).toFixed(1)} ×`);
    enableDownload(speech);
    document.body.dataset.playedWhenMade = speech.played.toFixed(3);
    setState("playing", "Made; playing");
  } catch (error) {
    if (running !== speech) return; // stopped by hand
    running = null;
    speech.end();
    showError(error.message);
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

function stop() {
  const speech = running;
  if (!speech) return;
  running = null;
  speech.end();
  if (document.body.dataset.state !== "done") setState("stopped", "Stopped");
}

function enableDownload(speech) {
  const link = element("download");
  link.href = URL.createObjectURL(speech.wav());
  link.download = "speech.wav";
  link.setAttribute("aria-disabled", "false");
}

function disableDownload() {
  const link = element("download");
  if (link.href) URL.revokeObjectURL(link.href);
  link.removeAttribute("href");
  link.setAttribute("aria-disabled", "true");
}

let drawn = null; // the speech whose waveform is shown, also after it has ended

function draw() {
  drawn = running ?? drawn;
  const canvas = element("wave");
  const scale = window.devicePixelRatio;
  const width = canvas.clientWidth * scale;
  const height = canvas.clientHeight * scale;
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  const colors = getComputedStyle(document.documentElement);
  const paint = canvas.getContext("2d");
  paint.clearRect(0, 0, width, height);
  const peaks = drawn?.peaks ?? [];
  const played = drawn === running && drawn ? drawn.played / drawn.seconds : drawn ? 1 : 0;
  const bars = Math.max(peaks.length, 1);
  const step = Math.min(width / bars, 6 * scale);
  for (let i = 0; i < peaks.length; i++) {
    const bar = Math.max(2 * scale, peaks[i] * height);
    const heard = i / peaks.length < played;
    paint.fillStyle = colors.getPropertyValue(heard ? "--accent" : "--wave");
    paint.fillRect(i * step, (height - bar) / 2, Math.max(step - scale, 1), bar);
  }
  if (!peaks.length) {
    paint.fillStyle = colors.getPropertyValue("--line");
    paint.fillRect(0, height / 2 - scale / 2, width, scale);
  }
  if (running && document.body.dataset.state === "playing" && running.played >= running.seconds) {
    setState("done", "Done");
  }
  requestAnimationFrame(draw);
}

function fill(select, names, chosen) {
  select.replaceChildren(
    ...names.map((name) => new Option(name, name, name === chosen, name === chosen)),
  );
}

async function loadVoices() {
  const model = element("model").value;
  const query = model ? `?model=${encodeURIComponent(model)}` : "";
  const answer = await (await ask(`/v1/audio/voices${query}`)).json();
  fill(element("voice"), answer.voices.map((voice) => voice.id), answer.default);
  element("recording-field").hidden = !answer.cloning;
  rate = answer.sample_rate;
  longest = answer.max_text;
  show("facts", `${answer.model} · ${answer.engine}, ${answer.precision} · ${rate / 1000} kHz`);
  count();
}

async function load() {
  try {
    const models = (await (await ask("/v1/models")).json()).data
      .filter((model) => !model.alias)
      .map((model) => model.id);
    fill(element("model"), models, models[0]);
    element("model-field").hidden = models.length < 2;
    await loadVoices();
    element("error").hidden = true;
    if (!running) setState("idle", "Ready");
  } catch (error) {
    showError(error.message);
  }
}

function count() {
  const length = [...element("text").value].length;
  show("count", `${length} characters`);
  const message = length > longest ? `The server speaks at most ${longest} characters.` : "";
  element("text").setCustomValidity(message);
}

element("form").addEventListener("submit", (event) => {
  event.preventDefault();
  speak();
});
element("stop").addEventListener("click", stop);
element("text").addEventListener("input", count);
element("model").addEventListener("change", () => loadVoices().catch((e) => showError(e.message)));
element("speed").addEventListener("input", (event) =>
  show("speed-value", `${Number(event.target.value).toFixed(1)} ×`),
);
element("key").addEventListener("change", (event) => {
  sessionStorage.setItem("key", event.target.value);
  load();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") stop();
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) element("form").requestSubmit();
});
requestAnimationFrame(draw);
load();

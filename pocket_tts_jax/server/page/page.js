// The form: speaks its text through /v1/audio/speech, plays it, and lights up the words.

import { read } from "/page/answer.js";
import { Reading } from "/page/reading.js";
import { Speech } from "/page/speech.js";

const element = (id) => document.getElementById(id);
let rate = 24000;
let longest = Infinity;
let running = null; // what is spoken now
let drawn = null; // what is shown, also after it has ended

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

function request(text, signal) {
  const recording = element("recording").files[0];
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
    stream_format: "sse",
    timestamps: true,
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
  const text = element("text").value;
  const speech = (running = drawn = new Speech(rate));
  const reading = (speech.reading = new Reading(element("reading"), text));
  setState("waiting", "Waiting for the first samples");
  try {
    await speech.context.resume();
    const response = await request(text, speech.abort.signal);
    for await (const piece of read(response)) {
      if (piece instanceof Int16Array) play(speech, piece);
      else reading.add(piece);
    }
    if (running !== speech) return;
    showFigures(speech);
    enableDownload(speech);
    document.body.dataset.playedWhenMade = speech.played.toFixed(3);
    setState("playing", "Made; playing");
  } catch (error) {
    if (running !== speech) return; // stopped by hand
    running = null;
    speech.end();
    reading.stop();
    showError(error.message);
  }
}

function play(speech, samples) {
  if (speech.samples === 0 && samples.length > 0) {
    show("first", `${Math.round(1000 * speech.elapsed)} ms`);
    setState("speaking", "Speaking");
    element("sound").scrollIntoView({ block: "nearest" }); // on a phone it is below the form
  }
  speech.add(samples);
  showFigures(speech);
}

function showFigures(speech) {
  show("length", `${speech.seconds.toFixed(1)} s`);
  show("factor", `${(speech.seconds / speech.elapsed).toFixed(1)} ×`);
}

function stop() {
  const speech = running;
  if (!speech) return;
  running = null;
  speech.end();
  speech.reading.stop();
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

// One picture: the waveform, the word that is heard, and whether all has been heard.
function draw() {
  drawWave(drawn?.peaks ?? [], drawn ? drawn.played / drawn.seconds : 0);
  if (running) {
    running.reading.show(running.played);
    if (document.body.dataset.state === "playing" && running.played >= running.seconds) {
      running.reading.finish();
      setState("done", "Done");
    }
  }
  requestAnimationFrame(draw);
}

function drawWave(peaks, played) {
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
  const step = Math.min(width / Math.max(peaks.length, 1), 6 * scale);
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

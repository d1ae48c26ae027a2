// Speech that is played while it comes. Each piece is an AudioBuffer with a time of its own:
// AudioWorklet needs https, which a phone in a home network does not have.

const SLICE = 960; // samples of a bar in the waveform: 40 ms
const LEAD_SECONDS = 0.06; // between the first samples and their sound

export class Speech {
  constructor(rate) {
    this.rate = rate;
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
    return this.samples / this.rate;
  }

  // Seconds that were heard: what the context has played is later at the ear, most of all with
  // wireless headphones. Negative before the first.
  get played() {
    if (this.start === null) return 0;
    const heard = this.context.currentTime - (this.context.outputLatency || 0) - this.start;
    return Math.min(this.seconds, heard);
  }

  // Since it was asked for.
  get elapsed() {
    return (performance.now() - this.asked) / 1000;
  }

  add(integers) {
    if (integers.length === 0) return;
    const now = this.context.currentTime;
    this.start ??= now + LEAD_SECONDS;
    let at = this.start + this.seconds;
    if (at < now) { // the samples came too late: what follows moves back
      this.start += now + LEAD_SECONDS - at;
      at = now + LEAD_SECONDS;
    }
    const buffer = this.context.createBuffer(1, integers.length, this.rate);
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
    header.setUint32(24, this.rate, true);
    header.setUint32(28, 2 * this.rate, true);
    header.setUint16(32, 2, true);
    header.setUint16(34, 16, true);
    text(36, "data");
    header.setUint32(40, 2 * this.samples, true);
    return new Blob([header, ...this.pieces], { type: "audio/wav" });
  }
}

// The text while it is spoken: the word that is heard is lit.
// The server tells where each word stands in the text, in code points, and when it is heard.

export class Reading {
  constructor(element, text) {
    this.element = element;
    this.letters = [...text]; // code points
    this.words = []; // in the order of the text
    this.heard = 0; // words that are over
    this.read = 0; // letters up to the end of the last word
    this.rest = new Text(text); // what follows it
    element.replaceChildren(this.rest);
    element.className = "";
    element.scrollTop = 0;
  }

  add({ start, end, characters: [first, last] }) {
    const before = this.cut(first);
    this.words.push({ start, end, before, span: this.cut(last) });
  }

  // Takes the letters up to `last` from the rest of the text, into an element.
  cut(last) {
    const part = this.rest;
    const units = this.letters.slice(this.read, last).join("").length; // of UTF-16, as DOM counts
    this.rest = part.splitText(units);
    this.read = last;
    const span = document.createElement("span");
    part.replaceWith(span);
    span.append(part);
    return span;
  }

  // Shows what is heard after so many seconds of sound.
  show(seconds) {
    for (; this.heard < this.words.length; this.heard++) {
      const { start, end, before, span } = this.words[this.heard];
      if (seconds < start) return;
      before.className = "heard";
      if (seconds < end) {
        if (span.className !== "lit") this.light(span);
        return;
      }
      span.className = "heard";
    }
  }

  light(span) {
    span.className = "lit";
    const box = this.element.getBoundingClientRect();
    const word = span.getBoundingClientRect();
    if (word.top < box.top || word.bottom > box.bottom) {
      this.element.scrollTop += word.top - box.top - box.height / 3;
    }
  }

  // The sound was stopped: no word is lit any more.
  stop() {
    for (const { span } of this.words) span.classList.replace("lit", "heard");
  }

  // All was heard, also the marks behind the last word.
  finish() {
    this.stop();
    this.element.className = "heard";
  }
}

/* Browsers refuse workers on pages that are opened from disk (file://): there the search runs in a hidden frame instead.

   The frame gets the same script, in which `postMessage` answers the page and `importScripts` loads other scripts. */
(function () {
  if (location.protocol !== "file:") return;
  class FrameWorker extends EventTarget {
    constructor(url) {
      super();
      const base = new URL(url, document.baseURI);
      this.onmessage = null;
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      document.body.appendChild(this.frame);
      const inner = this.frame.contentWindow;
      const answer = (data) => {
        const event = new MessageEvent("message", { data });
        if (this.onmessage) this.onmessage(event);
        this.dispatchEvent(event);
      };
      inner.postMessage = (data) => setTimeout(answer, 0, data);
      inner.importScripts = (...urls) => urls.reduce((before, each) => before.then(() => load(each)), Promise.resolve());
      const load = (source) => new Promise((resolve, reject) => {
        const script = inner.document.createElement("script");
        script.src = new URL(source, base);
        script.onload = resolve;
        script.onerror = reject;
        inner.document.body.appendChild(script);
      });
      this.ready = load(base);
    }
    postMessage(data) {
      this.ready = this.ready.then(() => {
        const inner = this.frame.contentWindow;
        const event = new inner.MessageEvent("message", { data });
        if (inner.onmessage) inner.onmessage(event);
        return inner.dispatchEvent(event);
      });
      this.ready.catch((error) => this.dispatchEvent(new ErrorEvent("error", { error })));
    }
    terminate() {
      this.frame.remove();
    }
  }
  window.Worker = FrameWorker;
})();

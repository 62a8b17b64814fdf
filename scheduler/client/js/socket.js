// A WebSocket client of the few features that sessions and runs need, without
// dependencies: text messages, one reader, ping, close.
import { createHash, randomBytes } from 'node:crypto';
import http from 'node:http';
import https from 'node:https';

const TEXT = 1, CLOSE = 8, PING = 9, PONG = 10, CONTINUATION = 0;
const MAX_MESSAGE = 64 * 1024 * 1024;

/** Connects, or fails with an error whose refusal is the gateway's answer. */
export function connect(url, headers, timeout) {
  const key = randomBytes(16).toString('base64');
  const accept = createHash('sha1').update(key + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64');
  const request = (url.protocol === 'https:' ? https : http).request(url, {
    headers: { ...headers, Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': key },
  });
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => request.destroy(new Error('the gateway does not answer')), timeout);
    request.on('error', (err) => { clearTimeout(timer); reject(err); });
    request.on('upgrade', (response, socket, head) => {
      clearTimeout(timer);
      if (response.headers['sec-websocket-accept'] !== accept) {
        socket.destroy();
        reject(new Error('the answer is not to our question'));
        return;
      }
      resolve(new Socket(socket, head, response.headers));
    });
    request.on('response', (response) => {
      const parts = [];
      response.on('data', (part) => parts.push(part));
      response.on('end', () => {
        clearTimeout(timer);
        const err = new Error(`the gateway answered ${response.statusCode}`);
        try { err.refusal = JSON.parse(Buffer.concat(parts)).error; } catch { /* not a gateway's answer */ }
        reject(err);
      });
    });
    request.end();
  });
}

class Socket {
  #tcp;
  #buffer;
  #message = [];
  #came = [];
  #waiting = null;
  #failed = null;

  constructor(tcp, head, headers) {
    this.headers = headers;
    this.#tcp = tcp;
    this.#buffer = head;
    tcp.setNoDelay(true);
    tcp.on('data', (part) => { this.#buffer = Buffer.concat([this.#buffer, part]); this.#read(); });
    tcp.on('error', (err) => this.#fail(err));
    tcp.on('close', () => this.#fail(new Error('the session is over')));
  }

  /** Sends one message and waits for the next one from the other side. */
  ask(text, timeout) {
    if (!this.#failed) this.#send(TEXT, Buffer.from(text));
    return this.next(timeout);
  }

  /** Waits for the next message. */
  next(timeout) {
    if (this.#came.length > 0) return Promise.resolve(this.#came.shift());
    if (this.#failed) return Promise.reject(this.#failed);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#fail(new Error('the call takes too long')), timeout);
      this.#waiting = {
        resolve: (text) => { clearTimeout(timer); resolve(text); },
        reject: (err) => { clearTimeout(timer); reject(err); },
      };
    });
  }

  close() {
    if (this.#failed) return;
    this.#send(CLOSE, Buffer.from([0x03, 0xe8]));
    this.#fail(new Error('closed'));
  }

  #fail(err) {
    if (this.#failed) return;
    this.#failed = err;
    this.#tcp.end();
    this.#waiting?.reject(err);
    this.#waiting = null;
    this.#tcp.on('error', () => {});
  }

  #send(opcode, payload) {
    const n = payload.length;
    const head = n < 126 ? Buffer.alloc(2) : n < 65536 ? Buffer.alloc(4) : Buffer.alloc(10);
    head[0] = 0x80 | opcode;
    if (n < 126) head[1] = n;
    else if (n < 65536) { head[1] = 126; head.writeUInt16BE(n, 2); }
    else { head[1] = 127; head.writeBigUInt64BE(BigInt(n), 2); }
    head[1] |= 0x80; // clients mask
    const mask = randomBytes(4);
    const masked = Buffer.from(payload);
    for (let i = 0; i < n; i++) masked[i] ^= mask[i & 3];
    this.#tcp.write(Buffer.concat([head, mask, masked]));
  }

  #read() {
    for (;;) {
      const b = this.#buffer;
      if (b.length < 2) return;
      let n = b[1] & 0x7f, at = 2;
      if (n === 126) { if (b.length < 4) return; n = b.readUInt16BE(2); at = 4; }
      else if (n === 127) { if (b.length < 10) return; n = Number(b.readBigUInt64BE(2)); at = 10; }
      if (n > MAX_MESSAGE) { this.#fail(new Error('a message is too large')); return; }
      if (b.length < at + n) return;
      const payload = b.subarray(at, at + n);
      this.#buffer = b.subarray(at + n);
      this.#frame(b[0] & 0x0f, (b[0] & 0x80) !== 0, payload);
      if (this.#failed) return;
    }
  }

  #frame(opcode, final, payload) {
    if (opcode === PING) this.#send(PONG, payload);
    else if (opcode === CLOSE) this.#fail(new Error('the session is over'));
    else if (opcode === TEXT || opcode === CONTINUATION) {
      this.#message.push(Buffer.from(payload));
      if (!final) return;
      const text = Buffer.concat(this.#message).toString();
      this.#message = [];
      const waiting = this.#waiting;
      this.#waiting = null;
      if (waiting) waiting.resolve(text);
      else this.#came.push(text);
    }
  }
}

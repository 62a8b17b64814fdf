'use strict';

// The course's own HTTP server, in plain Node: it listens on the unix socket
// that PRAIRIE_SOCKET names and answers
//
//   POST /question/{QID}   {method, data, html?}
//   POST /element/{name}   {method, data, html}
//
// with the modified data (JSON), or with HTML for a render. What it does not
// know is 404, and an exception of a question is 500 with its message. With
// PRAIRIE_BATCH=1 it also answers a batch at POST /; without, that is 404 and
// whoever calls sends the items one by one.
//
// A question is questions/<QID>/question.js, an element
// elements/<name>/<name>.js; both are loaded when they are first called.

const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');

const MAX_BODY = 16 * 1024 * 1024;
const NAME = /^[A-Za-z0-9_-]+(\/[A-Za-z0-9_-]+)*$/;

class Answer extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

function load(kind, name) {
  const file = NAME.test(name)
    ? kind === 'question'
      ? path.join(__dirname, 'questions', name, 'question.js')
      : path.join(__dirname, 'elements', name, `${name}.js`)
    : null;
  if (!file || !fs.existsSync(file)) throw new Answer(404, `${kind}_missing`, `there is no ${kind} "${name}"`);
  return require(file);
}

function call(kind, name, { method, data, html }) {
  const code = load(kind, name);
  if (typeof method !== 'string' || !Object.hasOwn(code, method)) {
    throw new Answer(404, 'method_missing', `${kind} "${name}" has no method "${method}"`);
  }
  const result = kind === 'element' ? code[method](html ?? '', data) : code[method](data, html ?? '');
  return method === 'render' ? { html: String(result) } : { data: result ?? data };
}

function failure(error) {
  if (error instanceof Answer) return { status: error.status, body: { error: { code: error.code, message: error.message } } };
  return { status: 500, body: { error: { code: 'question_error', message: String(error.message), traceback: error.stack } } };
}

/** The items in order; data goes from one to the next, and past an item that fails unchanged. */
function batch({ data, question, requests }) {
  if (!Array.isArray(requests)) throw new Answer(400, 'bad_request', 'requests is not an array');
  const responses = requests.map((item) => {
    const tag = /^\s*<([a-zA-Z][\w-]*)/.exec(item.html ?? '')?.[1];
    try {
      const name = item.name ?? (item.type === 'element' ? tag : question) ?? '';
      const result = call(item.type, name, { ...item, data: structuredClone(data) });
      if (result.data) data = result.data;
      return { status: 200, body: result.html ?? result.data, output: '' };
    } catch (error) {
      return { ...failure(error), output: '' };
    }
  });
  return { data, responses };
}

function answer(url, body) {
  const [, kind, name] = /^\/(question|element)\/(.+?)\/?$/.exec(decodeURIComponent(url)) ?? [];
  if (kind) return call(kind, name, body);
  if (url === '/' && process.env.PRAIRIE_BATCH === '1') return { data: batch(body) };
  throw new Answer(404, 'not_found', `nothing is at ${url}`);
}

function read(request) {
  return new Promise((resolve, reject) => {
    const parts = [];
    let size = 0;
    request.on('data', (part) => {
      size += part.length;
      if (size > MAX_BODY) {
        reject(new Answer(413, 'too_large', 'the body is too large'));
        request.destroy();
      } else parts.push(part);
    });
    request.on('error', reject);
    request.on('end', () => resolve(Buffer.concat(parts).toString('utf8')));
  });
}

function parse(text) {
  try {
    const body = JSON.parse(text);
    if (body && typeof body === 'object') return body;
  } catch {
    // answered below
  }
  throw new Answer(400, 'bad_request', 'the body is not a JSON object');
}

function send(response, status, type, text) {
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(text) });
  response.end(text);
}

const server = http.createServer(async (request, response) => {
  try {
    const text = await read(request);
    if (request.method !== 'POST') throw new Answer(405, 'method_not_allowed', 'only POST is answered');
    const result = answer(request.url, parse(text));
    if (result.html !== undefined) send(response, 200, 'text/html; charset=utf-8', result.html);
    else send(response, 200, 'application/json', JSON.stringify(result.data));
  } catch (error) {
    const { status, body } = failure(error);
    send(response, status, 'application/json', JSON.stringify(body));
  }
});

const socket = process.env.PRAIRIE_SOCKET;
if (!socket) {
  console.error('PRAIRIE_SOCKET is not set');
  process.exit(2);
}
server.listen(socket);
process.on('SIGTERM', () => {
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});

// PrairieLearn's CodeCaller on a gateway's session route: one sandbox, one JSON
// line a call, in order. A lost sandbox is an error with retryable set; no second
// one takes its place in silence, because random stream and modules were lost too.
import { connect } from './socket.js';

export class FunctionMissingError extends Error {}

export class CodeCallerError extends Error {
  constructor(message, { retryable = false, output = '', data = null } = {}) {
    super(message);
    this.retryable = retryable;
    this.output = output;
    this.data = data;
  }
}

export class CodeCaller {
  #options;
  #course = null;
  #socket = null;
  #busy = false;

  constructor(options) {
    this.#options = { timeout: 20_000, ...options };
  }

  get version() {
    return this.#socket?.headers['prairie-version'] ?? null;
  }

  async prepareForCourse(options) {
    if (this.#busy) throw new CodeCallerError('a call is running');
    this.done();
    this.#course = { version: 'current', forbiddenModules: [], ...options };
  }

  async call(type, directory, file, fcn, args) {
    if (!this.#course) throw new CodeCallerError('prepareForCourse comes first');
    if (this.#busy) throw new CodeCallerError('a call is running');
    this.#busy = true;
    try {
      this.#socket ??= await this.#open();
      const line = { type, directory, file, fcn, args, forbidden_modules: this.#course.forbiddenModules };
      return answer(JSON.parse(await this.#socket.ask(JSON.stringify(line), this.#options.timeout)));
    } catch (err) {
      if (err instanceof FunctionMissingError || (err instanceof CodeCallerError && !err.retryable)) throw err;
      this.done();
      throw err instanceof CodeCallerError ? err : new CodeCallerError(err.message, { retryable: true });
    } finally {
      this.#busy = false;
    }
  }

  async restart() {
    if (this.#busy) return false;
    this.done();
    return true;
  }

  done() {
    this.#socket?.close();
    this.#socket = null;
  }

  async #open() {
    const { course, version, question, courseInstance, assessment } = this.#course;
    const url = new URL(`/courses/${encodeURIComponent(course)}/${encodeURIComponent(version)}/session`, this.#options.gateway);
    for (const [name, value] of Object.entries({ question, course_instance: courseInstance, assessment })) {
      if (value) url.searchParams.set(name, value);
    }
    const headers = this.#options.token ? { Authorization: `Bearer ${this.#options.token}` } : {};
    try {
      return await connect(url, headers, this.#options.timeout);
    } catch (err) {
      if (!err.refusal) throw err;
      throw new CodeCallerError(err.refusal.message, { retryable: err.refusal.retryable, data: err.refusal });
    }
  }
}

/** Runs a program and yields its frames as they come; the last one is completed. */
export async function* execute(program, { gateway, token, timeout = 60_000 }) {
  const socket = await connect(new URL('/', gateway), token ? { Authorization: `Bearer ${token}` } : {}, timeout);
  try {
    let text = await socket.ask(JSON.stringify({ action: 'execute', data: program }), timeout);
    for (;;) {
      const frame = JSON.parse(text);
      if (!frame.output) throw new CodeCallerError(frame.message, { data: frame });
      yield frame;
      if (frame.completed) return;
      text = await socket.next(timeout);
    }
  } finally {
    socket.close();
  }
}

function answer(a) {
  if (a.functionMissing) throw new FunctionMissingError('the function does not exist');
  if (a.error) {
    const ours = typeof a.error === 'object'; // the gateway's own shape
    throw new CodeCallerError(ours ? a.error.message : a.error, {
      retryable: ours && a.error.retryable === true,
      output: a.output ?? '',
      data: ours ? a.error : a.errorData,
    });
  }
  return { result: a.data, output: a.output ?? '' };
}

// A platform's code around a session: node session.mjs CLIENT GATEWAY. Says what
// it saw, one JSON value a line, and goes on when it reads a line.
import { createInterface } from 'node:readline';

const { CodeCaller, CodeCallerError } = await import(process.argv[2]);
const said = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const say = (v) => console.log(JSON.stringify(v));

const caller = new CodeCaller({ gateway: process.argv[3], timeout: 60_000 });
await caller.prepareForCourse({ course: 'streams', question: 'session/stream' });
let data = { params: {}, correct_answers: {}, variant_seed: 7, options: {}, preferences: {} };
const call = async (fcn) => {
  const { result, output } = await caller.call('question', 'session/stream', 'server.py', fcn, [data]);
  data = result;
  return { ...result.params, output };
};
const failure = async (what) => {
  try {
    await what();
  } catch (err) {
    return { ours: err instanceof CodeCallerError, retryable: err.retryable === true };
  }
  return null;
};

const calls = [];
for (let i = 0; i < 5; i++) {
  calls.push(await call('generate'));
  data = { ...data, params: { between: `${i} in JavaScript` } }; // what the platform does between two calls
}
say(calls);
await said.next(); // the worker is killed while the session rests
say(await failure(() => call('generate')));
say(await call('generate')); // a new session, which began anew
const running = failure(() => call('grade'));
say('running');
await said.next(); // the worker is killed in mid-call
say(await running);
caller.done();
process.exit(0);

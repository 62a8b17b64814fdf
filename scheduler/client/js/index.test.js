// Runs against a gateway in front of a worker double; see ../client_test.go.
import assert from 'node:assert/strict';
import test from 'node:test';
import { CodeCaller, CodeCallerError } from './index.js';

const gateway = process.env.GATEWAY;
const skip = gateway ? false : 'GATEWAY is not set';

test('five calls share one sandbox', { skip }, async () => {
  const caller = new CodeCaller({ gateway });
  await caller.prepareForCourse({ course: 'tam212', question: 'addNumbers' });
  for (let i = 1; i <= 5; i++) {
    const { result, output } = await caller.call('question', 'addNumbers', 'server.py', 'generate', [{ text: 'é'.repeat(i * 30_000) }]);
    assert.equal(result, i);
    assert.equal(output, '');
  }
  assert.match(caller.version, /^1{40}$/);
  assert.equal(await caller.restart(), true);
  assert.equal((await caller.call('question', null, null, 'generate', [])).result, 1, 'a fresh one');
  caller.done();
});

test('a lost worker is retryable, and the next call begins anew', { skip }, async () => {
  const caller = new CodeCaller({ gateway });
  await caller.prepareForCourse({ course: 'tam212' });
  await caller.call('question', null, null, 'generate', []);
  await assert.rejects(caller.call('question', null, null, 'die', []), (err) => err instanceof CodeCallerError && err.retryable);
  assert.equal((await caller.call('question', null, null, 'generate', [])).result, 1);
  caller.done();
});

test('a course that is not there', { skip }, async () => {
  const caller = new CodeCaller({ gateway });
  await assert.rejects(caller.call('question', null, null, 'generate', []), /prepareForCourse/);
  await caller.prepareForCourse({ course: 'nope' });
  await assert.rejects(caller.call('question', null, null, 'generate', []), (err) => err.data.code === 'course_missing' && !err.retryable);
});

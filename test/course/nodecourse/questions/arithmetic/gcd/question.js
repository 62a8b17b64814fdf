'use strict';

const { stream, between } = require('../../../serverFilesCourse/random.js');

const gcd = (a, b) => (b === 0 ? a : gcd(b, a % b));

exports.generate = (data) => {
  const next = stream(data.variant_seed ?? 0);
  const shared = between(next, 2, 12);
  const a = shared * between(next, 2, 20);
  const b = shared * between(next, 2, 20);
  data.params = { ...data.params, a, b };
  data.correct_answers = { ...data.correct_answers, gcd: gcd(a, b) };
  return data;
};

exports.render = (data, html) => `<section class="gcd">${html}</section>`;

exports.parse = (data) => {
  const text = String(data.submitted_answers?.gcd ?? '').trim();
  if (!/^\d{1,15}$/.test(text)) {
    data.format_errors = { ...data.format_errors, gcd: 'The answer is a whole number.' };
  } else {
    data.submitted_answers.gcd = Number(text);
  }
  return data;
};

exports.grade = (data) => {
  const { a, b } = data.params;
  const value = data.submitted_answers.gcd;
  const right = value === data.correct_answers.gcd;
  const divides = value > 1 && a % value === 0 && b % value === 0;
  data.partial_scores = { ...data.partial_scores, gcd: { score: right ? 1 : divides ? 0.5 : 0, weight: 1 } };
  data.score = data.partial_scores.gcd.score;
  return data;
};

'use strict';

const { stream, between } = require('../../../serverFilesCourse/random.js');

const WORDS = ['prairie', 'bluestem', 'bison', 'coneflower', 'meadowlark', 'switchgrass', 'goldenrod', 'badger'];

exports.generate = (data) => {
  const next = stream(data.variant_seed ?? 0);
  const word = WORDS[between(next, 0, WORDS.length - 1)];
  const letters = [...word];
  for (let i = letters.length - 1; i > 0; i--) {
    const j = between(next, 0, i);
    [letters[i], letters[j]] = [letters[j], letters[i]];
  }
  data.params = { ...data.params, letters: letters.join('') };
  data.correct_answers = { ...data.correct_answers, sorted: [...word].sort().join('') };
  return data;
};

exports.parse = (data) => {
  const text = String(data.submitted_answers?.sorted ?? '').trim().toLowerCase();
  if (!/^[a-z]+$/.test(text)) data.format_errors = { ...data.format_errors, sorted: 'Letters only.' };
  else data.submitted_answers.sorted = text;
  return data;
};

exports.grade = (data) => {
  const score = data.submitted_answers.sorted === data.correct_answers.sorted ? 1 : 0;
  data.partial_scores = { ...data.partial_scores, sorted: { score, weight: 1 } };
  data.score = score;
  return data;
};

'use strict';

const escape = (value) =>
  String(value).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);

const attribute = (html, name) => new RegExp(`\\b${name}="([^"]*)"`).exec(html)?.[1] ?? '';

exports.render = (html, data) => {
  const name = attribute(html, 'answers-name');
  const value = data.raw_submitted_answers?.[name] ?? '';
  return `<input class="node-number" type="number" name="${escape(name)}" value="${escape(value)}">`;
};

exports.parse = (html, data) => {
  const name = attribute(html, 'answers-name');
  const value = Number(data.submitted_answers?.[name] ?? NaN);
  if (!Number.isFinite(value)) data.format_errors = { ...data.format_errors, [name]: 'The answer is not a number.' };
  else data.submitted_answers[name] = value;
  return data;
};

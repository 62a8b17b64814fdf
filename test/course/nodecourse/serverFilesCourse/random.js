'use strict';

/** A stream of numbers in [0, 1) that depends on the seed only. */
function stream(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 15), z | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return ((z ^ (z >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A whole number from low to high, both included. */
function between(next, low, high) {
  return low + Math.floor(next() * (high - low + 1));
}

module.exports = { stream, between };

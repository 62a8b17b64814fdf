'use strict';

for (const method of ['generate', 'render', 'parse', 'grade']) {
  exports[method] = () => {
    throw new Error(`broken/throws: broken on purpose in ${method}`);
  };
}
